"""Each file of tests here closes what it opens."""

from __future__ import annotations

from tests.tools.open_contexts import pytest_runtest_teardown  # noqa: F401 - a hook
