"""Tells a slow machine from slow code: how long what a check runs wanted to compute and could not.

A thread that sleeps for short ticks notices a machine that stands still. On a machine with many programs each
tick ends nearly on time, though a process that computes gets its turn late and seldom. So a pacer also adds
up how long the threads of this process, and of all processes that it has started (the learner's, brokers,
workers, servers), stood in line for a processor (`family.in_line_s`, Linux). It takes the sum, because one of
them often waits for what another one does. Threads that only watch do not count: nothing waits for them. If
one of them waits for a disk at two looks, the time between the looks counts, too.
"""

from __future__ import annotations

import os
import threading
import time
from typing import ClassVar

from labkit.practice import family

TICK_S = 0.02
LOOK_S = 0.2
"""From one look at the other processes to the next: looking costs milliseconds."""


class Pacer:
    """``with Pacer() as pacer``: measures until the block's end; ``late_s`` says how much it was so far."""

    _watching: ClassVar[set[int]] = set()
    """The threads of all pacers, which nothing waits for."""

    def __init__(self, watches: bool = False) -> None:
        """``watches``: the thread that makes the pacer only watches what others do in the meantime."""
        self._left_out = {threading.get_native_id()} if watches else set()
        self._ticks_late_s = 0.0
        self._in_line_s: dict[int, float] = {}
        """By thread, since the beginning; threads that have ended as well."""
        self._at_first: dict[int, float] = {}
        self._on_disk_s = 0.0
        self._was_on_disk = False
        self._began = self._looked = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    @property
    def late_s(self) -> float:
        """The seconds for which something of the check could not run."""
        if not self._ended.is_set() and time.monotonic() > self._looked + LOOK_S:
            self._look()
        with self._lock:
            return max(self._ticks_late_s, sum(self._in_line_s.values()) + self._on_disk_s)

    @property
    def own_s(self) -> float:
        """The seconds since the beginning without those: what it would have taken on an idle machine."""
        return time.monotonic() - self._began - self.late_s

    def __enter__(self) -> Pacer:
        self._at_first = family.in_line_s(os.getpid())
        self._began = self._looked = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._look()
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        found, on_disk = family.in_line_s(os.getpid()), family.waits_for_disk(os.getpid())
        with self._lock:
            now = time.monotonic()
            self._on_disk_s += (now - self._looked) * (on_disk and self._was_on_disk)
            self._was_on_disk = on_disk
            for thread, seconds in found.items():
                if thread not in self._watching and thread not in self._left_out:
                    self._in_line_s[thread] = seconds - self._at_first.get(thread, 0.0)
            self._looked = now

    def _run(self) -> None:
        me = threading.get_native_id()
        self._watching.add(me)
        before = time.monotonic()
        while not self._ended.wait(TICK_S):
            now = time.monotonic()
            with self._lock:
                self._ticks_late_s += max(0.0, now - before - 2 * TICK_S)
            if now > self._looked + LOOK_S:
                self._look()
            before = time.monotonic()
        self._watching.discard(me)
