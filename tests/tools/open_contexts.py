"""A file of tests that leaves a ZeroMQ context open fails: a plugin of pytest, for folders that use sockets.

A client that a test leaves open lives on in its I/O thread. It looks for its broker every few seconds, in the
middle of other tests: it takes descriptors, and calls the functions that they replace and count. So after the
last test of a file none may be left of those that labkit or the file's tests have opened. A folder's
``conftest.py`` imports ``pytest_runtest_teardown`` from here.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import zmq

from tests.tools.waiting import wait_until

ROOT = Path(__file__).parents[2]
FRAMES = 6
"""How many callers are shown."""

_opened: WeakKeyDictionary[zmq.Context[Any], tuple[str, str]] = WeakKeyDictionary()
"""In which test each context was opened, and by which lines."""
_failed_before = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """After the last test of a file: fail if a client, a broker or a socket of its tests is still open."""
    answer = yield
    if nextitem is None or nextitem.path != item.path:
        session, file = item.session, item.nodeid.partition("::")[0]
        before, session.stash[_failed_before] = session.stash.get(_failed_before, 0), session.testsfailed
        if session.testsfailed == before:  # a test that failed midway may leave what it likes
            try:
                wait_until(lambda: not left_open(file), 5.0, "dropped clients to close")
            except AssertionError:
                left = "\n".join(left_open(file))
                pytest.fail(f"ZeroMQ contexts left open by the tests of this file:\n{left}", pytrace=False)
    return answer


def left_open(file: str) -> list[str]:
    """Return where each context was opened that tests of ``file`` have opened and not closed."""
    return [
        f"in {test}, by {callers}"
        for context, (test, callers) in list(_opened.items())
        if not context.closed and test.partition("::")[0] == file
    ]


def _watch() -> None:
    """Note each context that is opened from now on."""
    real = zmq.Context.__init__

    @functools.wraps(real)
    def init(self: zmq.Context[Any], *args: Any, **named: Any) -> None:
        real(self, *args, **named)
        callers = _callers(sys._getframe(1))
        if callers and not self._shadow:
            _opened[self] = os.environ.get("PYTEST_CURRENT_TEST", ""), callers

    zmq.Context.__init__ = init  # type: ignore[method-assign]


def _callers(frame: FrameType | None) -> str:
    """Return the callers, innermost first; empty if a library has opened the context for itself."""
    shown: list[str] = []
    while frame is not None and len(shown) < FRAMES:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
            shown.append(f"{path.relative_to(ROOT)}:{frame.f_lineno}")
        elif not shown:
            return ""
        frame = frame.f_back
    return " < ".join(shown)


_watch()
