"""The learner's side: threads that put into one BoundedQueue and get from it, and a record of what they did.

A run has six parts, which `run` names after what happens: producers put until it is full, one item is taken,
one consumer drains it, consumers wait at the empty queue, one item is given, then all put and get at once.

What a part shows is the record, in which an entry stands before each call and after each return. A part at
whose end all threads wait is over when nothing was recorded, and no line of the learner's file ran, for a
while. Lines of code that go on running while nothing is recorded are the sign of a thread that spins.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from labkit.practice.pacer import Pacer

TICK_S = 0.01
STILL_TICKS = 20
SPINNING_LINES = 60
"""Lines that one thread may run while nothing happens: enough to go to sleep, and to wake up in vain."""
HANG_S = 4.0
"""How long a part may take; time in which the machine kept the threads from running does not count."""
PATIENCE = 3
"""A busy machine gets this many times as long."""
SWITCH_EVERY_S = 1e-5


class _Run:
    """One queue, the record, and how many lines of the learner's file each thread has run since then."""

    def __init__(self, module: ModuleType, limit: int, pacer: Pacer) -> None:
        self.queue = module.BoundedQueue(limit)
        self.entries: list[list[Any]] = []
        """[thread, "put" or "get", "called" or "returned", item]"""
        self.error: list[Any] | None = None
        self.spins = ""
        self.starved = False
        """Whether the machine kept the threads from running for so long that it is not known what they do."""
        self._pacer = pacer
        self._file = module.__file__ or ""
        self._lines: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._last_line: dict[str, int] = {}

    def start(self, name: str, what: str, items: list[Any]) -> threading.Thread:
        """Start a thread that puts ``items``, or gets as many of them."""
        thread = threading.Thread(target=self._do, args=(name, what, items), name=name, daemon=True)
        thread.start()
        return thread

    def _do(self, name: str, what: str, items: list[Any]) -> None:
        sys.settrace(self._counting(name))
        try:
            for item in items:
                self._note(name, what, "called", item if what == "put" else None)
                if what == "put":
                    self.queue.put(item)
                else:
                    item = self.queue.get()
                self._note(name, what, "returned", item)
        except Exception as error:  # noqa: BLE001 - the learner's code may raise anything
            frames = [
                frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._file
            ]
            lines = [f"{Path(self._file).name}, line {frame.lineno}: {frame.line}" for frame in frames]
            self.error = self.error or [f"{type(error).__name__}: {error}", lines]
        finally:
            sys.settrace(None)

    def _note(self, *entry: Any) -> None:
        with self._lock:
            self.entries.append(list(entry))
            self._lines.clear()

    def _counting(self, name: str) -> Callable[..., Any]:
        def line(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
            if frame.f_code.co_filename != self._file:
                return None
            if event == "line":
                with self._lock:
                    self._lines[name] += 1
                    self._last_line[name] = frame.f_lineno
            return line

        return line

    def wait(self, until: Callable[[], bool]) -> bool:
        """Return whether ``until()`` came true and nothing happened after it; False after ``HANG_S``."""
        ends_at, gives_up_at = self._pacer.own_s + HANG_S, time.monotonic() + PATIENCE * HANG_S
        still, before = 0, (0, 0)
        while still < STILL_TICKS and self._pacer.own_s < ends_at and self.error is None and not self.spins:
            if time.monotonic() > gives_up_at:
                self.starved = True
                return False
            time.sleep(TICK_S)
            with self._lock:
                now = len(self.entries), self._lines.total()
                for name, lines in self._lines.items():
                    if lines > SPINNING_LINES:
                        self.spins = f"{Path(self._file).name}, line {self._last_line[name]}"
            still = still + 1 if now == before and until() else 0
            before = now
        return still >= STILL_TICKS

    def count(self, what: str, step: str) -> int:
        """Return how many such entries there are."""
        with self._lock:
            return sum(entry[1:3] == [what, step] for entry in self.entries)

    def reaches(self, puts: int, gets: int, called: int = 0) -> bool:
        """Return whether exactly so many puts and gets return now, and then all is still.

        ``called``: how many gets have begun, at least.
        """

        def is_there() -> bool:
            done = self.count("put", "returned") >= puts and self.count("get", "returned") >= gets
            return done and self.count("get", "called") >= called

        arrived = self.wait(is_there)
        return arrived and (self.count("put", "returned"), self.count("get", "returned")) == (puts, gets)


def run(module: ModuleType, limit: int, producers: int, consumers: int, each: int) -> dict[str, Any]:
    """Return the record of one run, and the part that did not come to its end: "" if all did.

    ``each``: how many items a producer puts, and how many a consumer gets.
    """
    sys.setswitchinterval(SWITCH_EVERY_S)
    with Pacer() as pacer:
        return _record(_Run(module, limit, pacer), limit, producers, consumers, each)


def _record(now: _Run, limit: int, producers: int, consumers: int, each: int) -> dict[str, Any]:
    total = producers * each
    more = [f"more {number}" for number in range(consumers * each)]

    def full() -> bool:
        for number in range(producers):
            now.start(f"producer {number}", "put", [f"{number} {item}" for item in range(each)])
        return now.reaches(limit, 0)

    def take() -> bool:
        now.start("first consumer", "get", [None])
        return now.reaches(limit + 1, 1)

    def drain() -> bool:
        now.start("second consumer", "get", [None] * (total - 1))
        return now.reaches(total, total)

    def empty() -> bool:
        for number in range(consumers):
            now.start(f"consumer {number}", "get", [None] * each)
        return now.reaches(total, total, called=total + consumers)

    def give() -> bool:
        now.start("one more", "put", more[:1])
        return now.reaches(total + 1, total + 1)

    def both() -> bool:
        for number in range(producers):
            now.start(f"producer {number} again", "put", more[1 + number :: producers])
        return now.reaches(total + len(more), total + len(more))

    parts = (full, take, drain, empty, give, both)
    stopped = next((part.__name__ for part in parts if not part()), "")
    return {
        "part": stopped,
        "entries": now.entries,
        "error": now.error,
        "spins": now.spins,
        "starved": now.starved,
    }
