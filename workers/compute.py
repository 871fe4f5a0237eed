"""The threads that compute, beside the one that talks.

The thread that owns the socket hands attempts over and collects what became of them; a bell wakes it.
A computing thread never touches ZeroMQ.

An attempt that waits for its turn can be withdrawn: ``_waiting`` is the one place where it is, and taking it
out (``dict.pop``) happens exactly once, by the computing thread or by the withdrawal.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence

from labkit import codec, jobs
from labkit.core import messages as m
from labkit.core.errors import N_, CannotTravel
from labkit.core.worker_session import Began, Finished, Raised
from labkit.waiting import Bell

TRACEBACK_LIMIT = 16_000
"""Characters of a traceback that travel back."""
ERROR_LIMIT = 1_000
ANNOUNCE_AFTER_S = 0.001
"""An attempt that has run for this long is announced as started; a shorter one is just done."""

Key = tuple[bytes, int]  # task, attempt


class Compute:
    """``slots`` threads that run attempts in the order in which they are handed over.

    A result of more than ``limit_bytes`` is a failure: the broker would not take it.
    """

    def __init__(self, slots: int, allowed: Sequence[str], bell: Bell, limit_bytes: int) -> None:
        self._allowed = tuple(allowed)
        self._limit_bytes = limit_bytes
        self._slots = slots
        self._turns: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._waiting: dict[Key, m.Task] = {}
        self._running: dict[int, tuple[Key, float]] = {}  # slot -> what, since when
        self._announced: set[Key] = set()
        self._over: deque[Finished | Raised] = deque()
        self._bell = bell  # rung when something is over
        for slot in range(slots):
            threading.Thread(target=self._work, args=(slot,), name=f"compute-{slot + 1}", daemon=True).start()

    # --- the talking thread's side ---

    def run(self, task: m.Task) -> None:
        """Compute this attempt when its turn comes."""
        key = (task.task, task.attempt)
        self._waiting[key] = task
        self._turns.put(key)

    def withdraw(self, task: bytes, attempt: int) -> bool:
        """Take an attempt back; False if it is already running or over."""
        return self._waiting.pop((task, attempt), None) is not None

    def collect(self) -> list[Finished | Raised]:
        """Return what is over since the last call, in order."""
        over: list[Finished | Raised] = []
        while self._over:
            over.append(self._over.popleft())
        for event in over:
            self._announced.discard((event.task, event.attempt))
        return over

    @property
    def has_news(self) -> bool:
        """Whether ``collect`` would return something."""
        return bool(self._over)

    def begun(self, now: float) -> tuple[list[Began], float | None]:
        """Return attempts that run long enough to be announced, and when to ask again (None: nothing runs
        unannounced).

        Tiny tasks never appear here: announcing each of them would cost more than computing it.
        """
        began: list[Began] = []
        again: float | None = None
        for key, since in list(self._running.values()):
            if key in self._announced:
                continue
            if now - since >= ANNOUNCE_AFTER_S:
                self._announced.add(key)
                began.append(Began(*key, since))
            else:
                again = since + ANNOUNCE_AFTER_S
        if again is None and self._waiting and len(self._running) < self._slots:  # else the bell will tell
            again = now + ANNOUNCE_AFTER_S  # a thread is about to take it
        return began, again

    # --- the computing threads' side ---

    def _work(self, slot: int) -> None:
        while True:
            key = self._turns.get()
            if key is None:
                return
            since = time.monotonic()
            self._running[slot] = key, since  # before it stops waiting: at no moment is it neither
            task = self._waiting.pop(key, None)
            if task is None:  # withdrawn
                del self._running[slot]
                continue
            result = self._compute(task, since)
            del self._running[slot]
            self._over.append(result)
            self._bell.ring()

    def _compute(self, task: m.Task, since: float) -> Finished | Raised:
        try:
            name, args, kwargs = codec.decode_call(task.payload)
            function = jobs.resolve(name, self._allowed)
            payload = codec.encode_value(function(*args, **kwargs))
            if payload.size > self._limit_bytes:
                raise CannotTravel(
                    N_("the result of {job} is {size} bytes; {limit} bytes can travel"),
                    job=name, size=payload.size, limit=self._limit_bytes,
                )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - whatever a task does, even exit(), is its own failure
            text = "".join(traceback.format_exception(error)).encode("utf-8", "replace")
            if len(text) > TRACEBACK_LIMIT:
                half = TRACEBACK_LIMIT // 2
                text = text[:half] + b"\n...\n" + text[-half:]
            said = f"{type(error).__name__}: {_text_of(error)}"[:ERROR_LIMIT]
            return Raised(task.task, task.attempt, time.monotonic() - since, said, m.Payload(text))
        return Finished(task.task, task.attempt, time.monotonic() - since, payload)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception of somebody else's class may fail even at this
        return "its text cannot be had"
