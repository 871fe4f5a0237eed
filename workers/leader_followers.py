"""The threads of a worker: one leads, that is, it talks to the broker; the others compute, or wait.

::

             watch                    the leader has been computing for 1 ms
    (start) ───────► FOLLOWER ───────────────────────────────────────────────► LEADER
                        ▲                                                       │   ▲
                        │ no attempt waits for a slot                 computes  │   │ done, and still leads
                        │                                                       ▼   │
                     COMPUTING ◄──────────────────────────────────────────── LEADER, lead on loan
                                 done, but a follower leads now

A thread that reads a task and hands it to another one pays for two thread switches, which for a task of
microseconds is most of its cost. So the leader itself computes what it has read, and hands on the *lead* only
if necessary: a follower watches it, and takes the lead when the leader has been computing for a millisecond.
So no task delays heartbeats, and a short task never changes threads.

The lead changes hands under a lock, together with everything that only the leader may use: socket, session,
poller.

A single follower watches. It looks at a clock every millisecond or two while tasks arrive, and sleeps while
none do; the leader wakes it with the first task after a pause.

Source: the Leader/Followers pattern (Schmidt and others, Pattern-Oriented Software Architecture 2, 2000).
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol

from labkit.core.peers.worker_events import Finished, Raised
from workers.compute import ANNOUNCE_AFTER_S, Compute

REPORT_AFTER_S = ANNOUNCE_AFTER_S / 2
WATCH_EVERY_S = 0.002
"""How often the watching follower looks at the clock while tasks arrive."""
QUIET_S = 0.05
"""Without a task for this long, the watching follower sleeps until the next one."""


class Leader(Protocol):
    """The work of the thread that leads: ``workers.worker.Worker``."""

    @property
    def is_over(self) -> bool:
        """Whether the worker is about to leave."""

    def turn(self) -> None:
        """Send, wait until something happens, read, and handle it."""

    def report(self, report: Finished | Raised) -> None:
        """Report the outcome of an attempt to the broker at the next turn."""

    def wake(self) -> None:
        """Wake the thread that waits in ``turn``; called by the other threads."""


class LeaderFollowers:
    """``size`` daemon threads, so that one that is stuck in a task does not keep the process alive."""

    def __init__(self, size: int, leader: Leader, compute: Compute) -> None:
        self._leader = leader
        self._compute = compute
        self._lock = threading.Lock()  # for the next two
        self._leads: int | None = None  # number of the leading thread
        self._lent_at: float | None = None  # since when the leader computes, and others may take the lead
        self._lent_last = 0.0
        self._watch = threading.Lock()  # held by the follower that watches; the others wait for it
        self._asleep = False
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._live, args=(number,), name=f"leader-follower-{number}", daemon=True)
            for number in range(1, size + 1)
        ]

    def serve(self) -> None:
        """Run the threads until the leader is over. No thread leads any more when this returns."""
        for thread in self._threads:
            thread.start()
        while not self._over.wait(0.5):  # with a timeout, because on Windows an endless wait ignores Ctrl-C
            pass
        for _ in self._threads:
            self._alarm.put(None)
        if self._error is not None:
            raise self._error

    # --- each thread ----------------------------------------------------------------------------------------

    def _live(self, me: int) -> None:
        while self._follow(me):
            try:
                self._lead(me)
            except BaseException as error:  # noqa: BLE001 - raised again by ``serve``
                self._error = error
                self._over.set()
                return
            self._leader.wake()  # another thread leads: compute the waiting attempts
            while not self._over.is_set() and (taken := self._compute.take()) is not None:
                self._compute.hand_in(self._compute.perform(*taken))
                self._leader.wake()

    def _lead(self, me: int) -> None:
        """Take turns, and compute in between, until another thread takes the lead or the leader is over."""
        leader, compute = self._leader, self._compute
        while not leader.is_over:
            leader.turn()
            if compute.has_work:
                self._lend()
                self._burst()
                if not self._take_back(me):
                    return
                for report in compute.collect():
                    leader.report(report)
        self._over.set()

    def _burst(self) -> None:
        """Compute waiting attempts for half a millisecond, but at least one; then it is time to report.

        Each report is handed in before the next attempt starts. If that one takes long, the thread that takes
        the lead meanwhile sends the report. An attempt that ends after the half millisecond ends the burst.
        """
        compute = self._compute
        report_at = time.monotonic() + REPORT_AFTER_S
        while (taken := compute.take()) is not None:
            compute.hand_in(compute.perform(*taken))
            if time.monotonic() >= report_at:
                return

    def _lend(self) -> None:
        """Allow another thread to take the lead from now on."""
        self._lent_at = time.monotonic()
        if self._asleep:
            self._asleep = False
            self._alarm.put(None)

    def _take_back(self, me: int) -> bool:
        """Return whether this thread still leads after computing."""
        with self._lock:
            if self._leads != me:
                return False
            if self._lent_at is not None:
                self._lent_last = self._lent_at
            self._lent_at = None
            return True

    def _follow(self, me: int) -> bool:
        """Wait until this thread leads; return False if all threads are to end."""
        with self._watch:
            while not self._over.is_set():
                now = time.monotonic()
                with self._lock:
                    lent_at = self._lent_at
                    if self._leads is None or (lent_at is not None and now >= lent_at + ANNOUNCE_AFTER_S):
                        self._leads, self._lent_at, self._lent_last = me, None, now
                        return True
                if lent_at is not None:
                    self._doze(lent_at + ANNOUNCE_AFTER_S - now)
                elif now - self._lent_last < QUIET_S:
                    self._doze(WATCH_EVERY_S)
                else:
                    self._sleep()
        return False

    def _doze(self, timeout_s: float) -> None:
        try:
            self._alarm.get(timeout=max(timeout_s, 0.0001))
        except queue.Empty:
            return

    def _sleep(self) -> None:
        self._asleep = True
        if (
            self._lent_at is None
        ):  # checked after _asleep is set: a leader that lends sees one, or is seen here
            self._alarm.get()
        self._asleep = False
