"""Replacing a function for the code under test alone.

``monkeypatch.setattr(zmq.Socket, "connect", fail)`` replaces it for every thread of the process. Another
client, such as a rig's, may connect anew at any moment: it would fail, and be counted, in place of the one
under test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def replaced_here(where: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace ``where.name`` for this thread and those started from now on; the others keep the real one."""
    real = getattr(where, name)
    others = {*threading.enumerate()} - {threading.current_thread()}

    def chosen(*args: Any, **named: Any) -> Any:
        function = real if threading.current_thread() in others else replacement
        return function(*args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, chosen)
        yield
