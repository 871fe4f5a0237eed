"""Runs in each kernel that ``python -m labkit lab`` starts, before its first cell (PYTHONSTARTUP)."""

from __future__ import annotations

from labkit.cli.fresh_kernel import install as _install

_install()
del _install, annotations
