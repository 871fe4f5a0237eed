"""The learner's side: the policy is called with what it may see."""

from __future__ import annotations

from labkit.practice.policies import choose

__all__ = ["choose"]
