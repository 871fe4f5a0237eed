"""Ends the processes of a private cluster when its program and its supervisor are both gone.

A private cluster ends with the program that opened it: its supervisor sees the end of the lifeline and ends
the other processes. But if the supervisor is killed too (``kill -9``), its children would live on without a
purpose. So each of them has a copy of the same lifeline::

    program ──holds the other end of──► lifeline ─┬─ supervisor   ends the others, in order
                                                  └─ each child   ends itself if no supervisor does

* The end of the lifeline alone is not enough. While the supervisor lives, it ends the children, so a child
  waits for longer than that can take. A dead supervisor alone is not enough either: the program's tasks can
  still be computed.
* Nothing is read from the lifeline (only the supervisor reads it): ``poll`` reports when the other end is
  closed.
* A child that is frozen at that moment ends all the same: the kernel sends SIGHUP to a stopped process whose
  group has become an orphan.
* Redis cannot watch anything. On Linux the kernel kills it with its supervisor (``PR_SET_PDEATHSIG``);
  elsewhere it stays until the next ``up`` or ``open_cluster`` cleans up.
* Windows has none of this: there broker and workers stay when both are killed.

The processes of the engine "processes" end with their program, too (``end_with_pool``).
"""

from __future__ import annotations

import multiprocessing.process
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence

SUPERVISOR_S = 5.0
"""Time that a living supervisor gets to end its children; it needs 3 s at most."""
LOOK_EVERY_S = 0.05
POLITE_S = 1.0
"""From SIGTERM to SIGKILL. Draining would be pointless: no program waits for results."""


def end_with(lifeline: int | None) -> None:
    """End this process once the lifeline has ended and the parent is gone. None: do nothing."""
    if lifeline is None or not hasattr(select, "poll"):
        return
    threading.Thread(target=_watch, args=(lifeline, os.getppid()), name="lifeline", daemon=True).start()


def _watch(lifeline: int, parent: int) -> None:
    ended = select.poll()
    ended.register(lifeline, 0)
    while not ended.poll():  # poll may be interrupted
        pass
    until = time.monotonic() + SUPERVISOR_S
    while os.getppid() == parent and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(POLITE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # with the processes that a task has started
    os.kill(os.getpid(), signal.SIGKILL)


def end_with_pool() -> None:
    """End this process of a pool once the program that has the pool is gone, however that ended.

    A pool's process that waits for work holds both ends of the pipe that it reads, and so never sees its end.
    Does nothing in a process that `multiprocessing` has not started.
    """
    if (program := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_outlive, args=(program,), name="lifeline", daemon=True).start()


def _outlive(program: multiprocessing.process.BaseProcess) -> None:
    program.join()
    os._exit(1)  # neither a result nor a last word can reach anyone


_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent = os.getppid()
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent: sys.exit()
os.execv(sys.argv[1], sys.argv[1:])
"""
"""1 is PR_SET_PDEATHSIG. It survives the exec, so the program keeps it, under the same process number."""


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """Return ``command`` changed so that the kernel kills the program with its parent (Linux only)."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *command]
