"""Which threads of a worker's process wait without a limit for another thread of it.

Two kinds of evidence. Python shows in which function a thread is: ``Condition.wait`` and what is built on it
(events, queues, semaphores, barriers), ``Thread.join``, an idle pool thread, an event loop that watches
nothing but its own wake-ups. Linux shows in which system call a thread is: a ``futex`` without a limit is a
wait for another thread, in whatever C function (``Lock.acquire``, ``SimpleQueue.get``). Linux also shows the
threads that Python does not know, and how long each thread has run.

Any other thread counts as active: one that computes or sleeps, that waits for a socket, a file or another
process, or that waits with a limit below the task's lease.

Source: ``man 5 proc`` (``/proc/pid/task/tid/syscall``, ``schedstat``); ``man 2 futex``.
"""

from __future__ import annotations

import concurrent.futures.thread
import platform
import selectors
import sys
import threading
from asyncio import base_events
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from labkit.client.callbacks import Callbacks

OWN: Final = ("labkit-", "leader-follower-", "lifeline", "MainThread")
"""Names of threads of a worker's process that are not the task's; they set no thread of a task free."""
ZMQ: Final = "ZMQ"
TASKS: Final = Path("/proc/self/task")
FUTEX: Final = {"x86_64": "202", "aarch64": "98"}.get(platform.machine(), "")
FUTEX_WAITS: Final = (0x80, 0x89)
"""FUTEX_WAIT and FUTEX_WAIT_BITSET, each with the flag of a futex that no other process can wake."""
FUTEX_CLOCK: Final = 0x100
"""A flag that does not matter here."""


def _codes(*functions: Any) -> frozenset[CodeType]:
    return frozenset(function.__code__ for function in functions if function is not None)


_TIMED: Final = _codes(
    threading.Condition.wait, threading.Thread.join, getattr(threading.Thread, "_wait_for_tstate_lock", None)
)
_IDLE: Final = _codes(concurrent.futures.thread._worker)
_RUN_ONCE: Final = base_events.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]
_SELECTS: Final = _codes(
    *(
        getattr(selectors, name).select
        for name in ("EpollSelector", "KqueueSelector", "PollSelector", "SelectSelector")
        if hasattr(selectors, name)
    )
)


def thread_states(
    tasks: Mapping[int, object], blocked: Mapping[int, Hashable | None], lease_s: float
) -> dict[int, Hashable | None]:
    """Return, for each thread that may set a task free, something that changes when it runs, or None.

    None: it is active.
    ``tasks``: the threads that compute tasks. ``blocked``: those that wait for the outcome of a task, and for
    which. ``lease_s``: a wait with a limit of this or more counts as one without. Threads that Python does
    not know are together thread 0.
    """
    names = {thread.ident: thread for thread in threading.enumerate()}
    states: dict[int, Hashable | None] = {}
    known = {threading.get_native_id()}
    for ident, frame in sys._current_frames().items():
        thread = names.get(ident)
        if thread is not None and thread.native_id is not None:
            known.add(thread.native_id)
        if ident in blocked:
            states[ident] = blocked[ident]
        elif ident in tasks or not _is_own(thread, frame):
            states[ident] = _state(frame, None if thread is None else thread.native_id, lease_s)
    states[0] = _unknown_threads(known)
    return states


def _is_own(thread: threading.Thread | None, frame: FrameType) -> bool:
    """Return whether a thread is labkit's, or one that only looks after the workers of a pool."""
    code = frame.f_code
    if _keeps_pool(frame):
        return True
    if thread is None or not thread.name.startswith(OWN):
        return False
    return thread.name != Callbacks.THREAD or code is Callbacks._run.__code__


def _keeps_pool(frame: FrameType | None) -> bool:
    pool = getattr(sys.modules.get("multiprocessing.pool"), "Pool", None)
    keeps = None if pool is None else pool._handle_workers.__code__
    while frame is not None and keeps is not None:
        if frame.f_code is keeps:
            return True
        frame = frame.f_back
    return False


def _state(frame: FrameType, native_id: int | None, lease_s: float) -> Hashable | None:
    if _waits(frame, lease_s) or (native_id is not None and _is_in_endless_futex(native_id)):
        return id(frame), frame.f_lasti, _ran_ns(native_id)
    return None


def _waits(frame: FrameType, lease_s: float) -> bool:
    code = frame.f_code
    if code in _IDLE:
        return True
    if code in _TIMED:
        return _is_endless(frame.f_locals.get("timeout"), lease_s)
    caller = frame.f_back
    if code in _SELECTS and caller is not None and caller.f_code is _RUN_ONCE:
        values = caller.f_locals
        selector = getattr(values["self"], "_selector", None)
        watched = {} if selector is None else selector.get_map()
        return watched is not None and len(watched) <= 1 and _is_endless(values.get("timeout"), lease_s)
    return False


def _is_endless(timeout_s: float | None, lease_s: float) -> bool:
    return timeout_s is None or timeout_s < 0 or timeout_s >= lease_s


# --- Linux --------------------------------------------------------------------------------------------------


def _is_in_endless_futex(native_id: int) -> bool:
    """Return whether a thread is in a futex wait without a limit; False where the system does not say."""
    number, *arguments = _read(native_id, "syscall").split() or [""]
    if not FUTEX or number != FUTEX or len(arguments) < 4:
        return False
    operation, limit = int(arguments[1], 16) & ~FUTEX_CLOCK, int(arguments[3], 16)
    return operation in FUTEX_WAITS and limit == 0


def _unknown_threads(known: set[int]) -> Hashable | None:
    """Return how long the threads that Python does not know have run; None if one of them is active.

    ZeroMQ's serve the clients, and a library's idle pool waits for work.
    """
    if not FUTEX or not TASKS.is_dir():
        return ()
    ran = []
    for native_id in sorted(int(entry.name) for entry in TASKS.iterdir()):
        if native_id in known or _read(native_id, "comm").startswith(ZMQ):
            continue
        if not _is_in_endless_futex(native_id):
            return None
        ran.append((native_id, _ran_ns(native_id)))
    return tuple(ran)


def _ran_ns(native_id: int | None) -> str:
    return "" if native_id is None else _read(native_id, "schedstat").partition(" ")[0]


def _read(native_id: int, name: str) -> str:
    try:
        return (TASKS / str(native_id) / name).read_text()
    except OSError:  # the thread has ended, or this system has no such file
        return ""
