"""Waiting for a condition, and stating what a test requires.

A test never sleeps and hopes: it waits until a condition is true, and fails by name if that takes too long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float = 5.0, what: str = "the condition") -> T:
    """Return the first true value of ``predicate()``; AssertionError naming ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}, in vain")
        time.sleep(pause_s)
        pause_s = min(0.05, pause_s * 2)
    return value


def require(condition: object, what: str) -> None:
    """Continue if ``condition`` is true. Otherwise skip on a laptop, and fail in CI, where everything is
    tested.

    ``what`` names what is missing: ``require(shutil.which("docker"), "docker")``.
    """
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"this test needs {what}, and nothing is skipped in CI", pytrace=False)
    pytest.skip(f"needs {what}")
