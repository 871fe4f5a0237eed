"""A worker's attempts: those that wait, those that run, and the reports of those that are over.

This module starts no thread and uses no socket. A thread that has time takes an attempt (``take``), computes
it (``perform``) and hands in the report; ``workers.leader_followers`` decides which thread that is.

A waiting attempt can be withdrawn: it leaves ``_waiting`` exactly once, by ``take`` or by ``withdraw``.
"""

from __future__ import annotations

import pathlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from labkit.calls import chunks, registry, serialization
from labkit.calls.chunks import RUN_EACH, Position
from labkit.calls.refusals import TooLarge
from labkit.core import exception_attributes, exception_text
from labkit.core.errors import N_, CannotTravel
from labkit.core.peers.worker_events import Began, Finished, Raised
from labkit.core.protocol import messages as m
from labkit.support.current_task import CurrentTask, set_current
from labkit.support.tracebacks import traceback_text

TRACEBACK_LIMIT = 16_000
"""Characters of a traceback that travel back."""
ERROR_LIMIT = 1_000
PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
"""An attribute of an error that is a path of one of these classes travels as its text."""
ANNOUNCE_AFTER_S = 0.001
"""An attempt that has run for this long is announced as started; a shorter one is just done."""

Key = tuple[bytes, int]  # task, attempt


class Compute:
    """At most ``slots`` attempts at once, started in the order in which they arrived.

    A result of more than ``limit_bytes`` is a failure, because the broker would refuse it.
    """

    def __init__(self, slots: int, allowed: Sequence[str], limit_bytes: int) -> None:
        self._allowed = tuple(allowed)
        self._limit_bytes = limit_bytes
        self._slots = slots
        self._lock = threading.Lock()
        self._waiting: dict[Key, m.Task] = {}
        self._running: dict[Key, float] = {}  # since when
        self._announced: set[Key] = set()
        self._over: deque[Finished | Raised] = deque()
        self.collected = 0
        """Reports that the leader has taken."""
        self.failed = 0
        """Of all attempts, those that raised."""

    # --- for the leader -------------------------------------------------------------------------------------

    def add(self, task: m.Task) -> None:
        """Compute this attempt when its turn comes."""
        self._waiting[task.task, task.attempt] = task

    def withdraw(self, task: bytes, attempt: int) -> bool:
        """Take an attempt back; False if it is already running or over."""
        return self._waiting.pop((task, attempt), None) is not None

    @property
    def has_work(self) -> bool:
        """Whether ``take`` would return something."""
        return bool(self._waiting) and len(self._running) < self._slots

    @property
    def has_news(self) -> bool:
        """Whether ``collect`` would return something."""
        return bool(self._over)

    def collect(self) -> list[Finished | Raised]:
        """Return the reports handed in since the last call, in order."""
        over: list[Finished | Raised] = []
        while self._over:
            over.append(self._over.popleft())
        self.collected += len(over)
        return over

    def begun(self, now: float) -> list[Began]:
        """Return the attempts that have run long enough to be announced as started, each once.

        Tiny tasks never appear here: announcing one would cost more than computing it.
        """
        began: list[Began] = []
        for key, since in list(self._running.items()):
            if now >= since + ANNOUNCE_AFTER_S and key not in self._announced:
                self._announced.add(key)
                began.append(Began(*key, since))
        return began

    def announce_at(self) -> float | None:
        """Return when ``begun`` will next return an attempt; None if every running one is announced."""
        unannounced = [since for key, since in list(self._running.items()) if key not in self._announced]
        return min(unannounced) + ANNOUNCE_AFTER_S if unannounced else None

    # --- for any thread -------------------------------------------------------------------------------------

    def take(self) -> tuple[m.Task, float] | None:
        """Return the next attempt and its start (monotonic), or None if none waits or no slot is free."""
        with self._lock:
            if len(self._running) >= self._slots:
                return None
            for key in self._waiting:
                since = self._running[key] = (
                    time.monotonic()
                )  # before it leaves _waiting, so that it is always in one of the two
                task = self._waiting.pop(key, None)
                if task is not None:
                    return task, since
                del self._running[key]  # withdrawn in the meantime
                break
        return None

    def perform(self, task: m.Task, since: float) -> Finished | Raised:
        """Return the report of the attempt that ``take`` returned, whatever the attempt does."""
        report = self._compute(task, since)
        del self._running[task.task, task.attempt]
        self._announced.discard((task.task, task.attempt))
        return report

    def hand_in(self, report: Finished | Raised) -> None:
        """Leave a report for the leader."""
        self._over.append(report)

    def _compute(self, task: m.Task, since: float) -> Finished | Raised:
        position = Position()
        set_current(CurrentTask(task.task, task.attempt, task.lease_s))
        try:
            payload = self._result(task.payload, position)
        except BaseException as error:  # noqa: BLE001 - anything that a task raises, even by exit(), is its failure
            with self._lock:
                self.failed += 1
            return self._failure(task, since, error, position.index)
        finally:
            set_current(None)
        return Finished(task.task, task.attempt, time.monotonic() - since, payload)

    def _result(self, call: m.Payload, position: Position) -> m.Payload:
        """Return the encoded result of a call; of a chunk, ``position`` is where it is."""
        name, args, kwargs, version = serialization.decode_versioned_call(call)
        if name == RUN_EACH:
            return self._results(version, position, *args, **kwargs)
        result = registry.resolve(name, self._allowed, version)(*args, **kwargs)
        try:
            payload = serialization.encode_value(result, self._limit_bytes)
        except TooLarge as error:
            raise self._too_large(name, error.params["size"]) from error
        return self._checked(name, payload)

    def _results(
        self, version: str, position: Position, name: str, calls: Sequence[tuple[Any, ...]], first: int = 0
    ) -> m.Payload:
        """Return the encoded results of a chunk (`labkit.jobs.run_each`)."""
        results = chunks.run(registry.resolve(name, self._allowed, version), calls, first, position)
        try:
            payload = serialization.encode_results(results, first, position, self._limit_bytes)
        except TooLarge as error:
            raise self._too_large(name, error.params["size"]) from error
        return self._checked(name, payload)

    def _checked(self, name: str, payload: m.Payload) -> m.Payload:
        if payload.size > self._limit_bytes:
            raise self._too_large(name, payload.size)
        return payload

    def _too_large(self, name: str, size: int) -> CannotTravel:
        return CannotTravel(
            N_("the result of {job} is {size} bytes or more; {limit} bytes can travel; return it in parts"),
            job=name,
            size=size,
            limit=self._limit_bytes,
        )

    @staticmethod
    def _failure(task: m.Task, since: float, error: BaseException, index: int | None) -> Raised:
        """Return the report of an exception, at the input ``index`` of a chunk.

        Describing the exception runs code of its class, which may raise.
        """
        text = traceback_text(error).encode("utf-8", "replace")
        if len(text) > TRACEBACK_LIMIT:
            half = TRACEBACK_LIMIT // 2
            text = text[:half] + b"\n...\n" + text[-half:]
        summary = exception_text.summary(error, ERROR_LIMIT)
        attributes = exception_attributes.encode(error, index, PATHS)
        payload = m.Payload(text, (attributes,) if attributes else ())
        return Raised(task.task, task.attempt, time.monotonic() - since, summary, payload)
