"""What ends the processes of a private cluster when nobody is left who would.

A private cluster ends with the program that opened it: its supervisor sees its lifeline end, and takes the
others down. But if somebody kills the supervisor too (``kill -9``), its children would live on, serving
nobody. So each of them has a copy of the same lifeline::

    program ──holds the other end of──► lifeline ─┬─ supervisor   ends the others, in order
                                                  └─ each child   ends itself, if no supervisor does it

* The end of the lifeline alone is not enough: while the supervisor lives, the end is its affair, and a child
  waits for it for longer than it can take. A supervisor that dies alone is no reason either: the program's
  tasks can still be computed.
* Nothing is read from the lifeline (that is for the supervisor): ``poll`` tells when nobody holds the other
  end.
* A child that is frozen at that moment dies all the same: the kernel sends SIGHUP to a stopped process whose
  group has become an orphan.
* Redis cannot watch anything. On Linux the kernel kills it with its supervisor (``PR_SET_PDEATHSIG``);
  elsewhere it stays until the next ``up`` or ``open_cluster`` clears away what it finds.
* Windows has none of this: there broker and workers stay when both are killed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence

SUPERVISOR_S = 5.0
"""How long a living supervisor is waited for: it needs 3 s at most."""
LOOK_EVERY_S = 0.05
POLITE_S = 1.0
"""From SIGTERM to SIGKILL: there is nobody left to drain for."""


def end_with(lifeline: int | None) -> None:
    """End this process when the lifeline has ended and the parent is gone. None: it lives for itself."""
    if lifeline is None or not hasattr(select, "poll"):
        return
    threading.Thread(target=_watch, args=(lifeline, os.getppid()), name="lifeline", daemon=True).start()


def _watch(lifeline: int, parent: int) -> None:
    ended = select.poll()
    ended.register(lifeline, 0)
    while not ended.poll():  # it may be interrupted
        pass
    until = time.monotonic() + SUPERVISOR_S
    while os.getppid() == parent and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(POLITE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # with whatever a task has started
    os.kill(os.getpid(), signal.SIGKILL)


_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent = os.getppid()
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent: sys.exit()
os.execv(sys.argv[1], sys.argv[1:])
"""
"""1 is PR_SET_PDEATHSIG; it outlasts the exec, so the process *is* the program, under the same number."""


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """Return the command of a program that the kernel kills when its parent ends; itself where it cannot."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *command]
