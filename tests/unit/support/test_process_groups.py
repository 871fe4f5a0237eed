"""Signals to groups of processes, also to those that have just ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from labkit.support import process_groups
from tests.tools.waiting import require, wait_until


@pytest.mark.parametrize(
    "refusal", [PermissionError(1, "Operation not permitted"), OSError(22, "Invalid argument")]
)
def test_signalling_a_group_of_zombies_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, refusal: OSError
) -> None:
    """macOS and Windows refuse to signal an ended process, Linux does not. It once stopped the supervisor."""
    require(sys.platform != "win32", "groups of processes")

    def refuse(_group: int, _number: int) -> None:
        raise refusal

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0) as child:
        assert child.stdin is not None
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", refuse)
            with pytest.raises(OSError, match=refusal.strerror):
                process_groups.signal_group(child.pid, process_groups.KILL)  # it lives, so the error is real
            child.stdin.close()
            wait_until(lambda: process_groups.birth(child.pid) is None, 20.0, "its end")
            process_groups.signal_group(child.pid, process_groups.KILL)
    process_groups.signal_group(child.pid, signal.SIGTERM)  # collected: there is no such group any more
