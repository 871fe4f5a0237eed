"""The threads of a worker: one leads, which means that it talks to the broker; the others compute, or wait.

::

             watch                    the leader has been computing for 1 ms
    (start) ───────► FOLLOWER ───────────────────────────────────────────────► LEADER
                        ▲                                                       │   ▲
                        │ nothing waits for a slot                    computes  │   │ done, and still leads
                        │                                                       ▼   │
                     COMPUTING ◄──────────────────────────────────────────── LEADER, lent
                                 done, and a follower leads by now

A thread that reads a task and hands it to another one pays for two changes of threads, which for a task of
microseconds is most of what it costs. So the leader computes what it has read itself, and hands on the *lead*
instead, and only if it must: a follower watches it, and takes the lead when the leader has been computing for
a millisecond. So heartbeats are never late because of a task, and a short task meets no other thread.

The lead changes hands under a lock, and with it all that is the leader's alone: socket, session, poller.

The one follower on watch looks at a clock every millisecond or two while tasks come, and sleeps while none
do; the leader wakes it with the first task after a pause.

Source: the Leader/Followers pattern (Schmidt and others, Pattern-Oriented Software Architecture 2, 2000).
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol

from labkit.core.peers.worker_session import Finished, Raised
from workers.compute import ANNOUNCE_AFTER_S, Compute

SPEAK_AFTER_S = ANNOUNCE_AFTER_S / 2
WATCH_EVERY_S = 0.002
"""How often the follower on watch looks at the clock while tasks come and go."""
QUIET_S = 0.05
"""Without a task for this long, it sleeps until there is one."""


class Leader(Protocol):
    """What the thread that leads does; ``workers.worker.Worker``."""

    @property
    def is_over(self) -> bool:
        """Whether the worker's life is over."""

    def turn(self) -> None:
        """Send, wait until something happens, read, and handle it."""

    def report(self, report: Finished | Raised) -> None:
        """Tell the broker, at the next turn, what became of an attempt."""

    def wake(self) -> None:
        """Let the thread that waits in ``turn`` look for news; called by others."""


class LeaderFollowers:
    """``size`` threads that are daemons: one that is stuck in a task does not keep a process alive."""

    def __init__(self, size: int, leader: Leader, compute: Compute) -> None:
        self._leader = leader
        self._compute = compute
        self._lock = threading.Lock()  # for the next two
        self._leads: int | None = None  # which thread
        self._lent_at: float | None = None  # since when it computes
        self._lent_last = 0.0
        self._watch = threading.Lock()  # one follower watches, the others wait behind it
        self._asleep = False
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._live, args=(number,), name=f"leader-follower-{number}", daemon=True)
            for number in range(1, size + 1)
        ]

    def serve(self) -> None:
        """Let the crew work until the worker's life is over. Nobody leads any more when this returns."""
        for thread in self._threads:
            thread.start()
        while not self._over.wait(0.5):  # not for ever: on Windows that would be deaf to Ctrl-C
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
            self._leader.wake()  # another thread leads: compute what waits, as long as there is any
            while not self._over.is_set() and (taken := self._compute.take()) is not None:
                self._compute.hand_in(self._compute.perform(*taken))
                self._leader.wake()

    def _lead(self, me: int) -> None:
        """Talk, and compute in between; until another thread has taken the lead, or all is over."""
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
        """Compute what waits, for half a millisecond or one task: then there is something to tell.

        Each report is handed in before the next task begins. If that one takes long, whoever takes the lead
        meanwhile tells of it; and what ends after that ends the burst, because it began before.
        """
        compute = self._compute
        speak_at = time.monotonic() + SPEAK_AFTER_S
        while (taken := compute.take()) is not None:
            compute.hand_in(compute.perform(*taken))
            if time.monotonic() >= speak_at:
                return

    def _lend(self) -> None:
        """From now on the lead may be taken over."""
        self._lent_at = time.monotonic()
        if self._asleep:
            self._asleep = False
            self._alarm.put(None)

    def _take_back(self, me: int) -> bool:
        """Return whether this thread still leads, after it has computed."""
        with self._lock:
            if self._leads != me:
                return False
            if self._lent_at is not None:
                self._lent_last = self._lent_at
            self._lent_at = None
            return True

    def _follow(self, me: int) -> bool:
        """Wait until this thread leads; False if it is all over."""
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
        if self._lent_at is None:  # asked after it was said: a leader that lends either sees it, or is seen
            self._alarm.get()
        self._asleep = False
