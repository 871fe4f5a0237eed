"""A visible race condition: threads that add to one number, without a lock and with one.

``Counter.add`` reads, then writes. If another thread writes in between, its value is overwritten: one
addition is lost. Normally this is rare; here ``sleep(0)`` yields to another thread exactly between the two,
so that it happens often enough to see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep

from labkit.charts.table import Table
from labkit.support.i18n import _


class Counter:
    """A counter without a lock, broken on purpose."""

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        seen = self.value
        sleep(0)
        self.value = seen + 1


class SafeCounter(Counter):
    """The same with a lock: one thread at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def add(self) -> None:
        with self.lock:
            super().add()


def add_together(counter: Counter, threads: int, times: int) -> int:
    """Have ``threads`` threads add ``times`` times each; return the final value of the counter."""
    start = threading.Barrier(threads)

    def run() -> None:
        start.wait()
        for _time in range(times):
            counter.add()

    _run_in_threads([run] * threads)
    return counter.value


def slow_motion() -> Table:
    """Return the steps by which two threads add one each and the sum is one, taken with real threads."""
    both_have_read = threading.Barrier(2)
    a_has_read, a_has_written = threading.Event(), threading.Event()
    steps: list[tuple[object, ...]] = []
    value = 0

    def note(who: str, does: str) -> None:
        steps.append((len(steps) + 1, who, does.format(n=value), value))

    def a() -> None:
        nonlocal value
        seen = value
        note("A", _("reads {n}"))
        a_has_read.set()
        both_have_read.wait()
        value = seen + 1
        note("A", _("writes {n}"))
        a_has_written.set()

    def b() -> None:
        nonlocal value
        a_has_read.wait()
        seen = value
        note("B", _("reads {n}"))
        both_have_read.wait()
        a_has_written.wait()
        value = seen + 1
        note("B", _("writes {n}"))

    _run_in_threads([a, b])
    return Table((_("step"), _("thread"), _("does"), _("counter")), steps)


def _run_in_threads(functions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=function, name="race") for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
