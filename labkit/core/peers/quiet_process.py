"""Decides whether a worker's process only waits for tasks of the same cluster.

A task can wait in many ways: in asyncio, for an event that a callback sets, for a thread that waits. The
client cannot see which thread waits for which task. But if every thread of the process waits for another
thread of it, without a limit, then nothing goes on there until one of the awaited tasks has an outcome. Then
each task that runs there waits for these.

The shell (``labkit.client.process_waits``) takes a look at the threads from time to time and passes it on.
Rules:

* A thread that computes, sleeps, or waits for anything outside the process may set any other thread free.
* A thread that has run since the last look may have set others free.
* So a wait is reported when nothing has changed for ``heartbeat_s``, and is withdrawn with the first change.

The broker judges what is reported (``labkit.core.broker.deadlock``).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from labkit.core.peers.client_events import WaitsNow
from labkit.core.protocol.rules import Rules

Attempt = tuple[bytes, int]


class QuietProcess:
    """See the module's head."""

    def __init__(self, rules: Rules) -> None:
        self._quiet_s = rules.heartbeat_s
        self._seen: object = None
        self._since = 0.0
        self._told: dict[Attempt, tuple[bytes, ...]] = {}

    def look(
        self,
        threads: Mapping[int, Hashable | None],
        tasks: frozenset[Attempt],
        awaited: tuple[bytes, ...],
        now: float,
    ) -> list[WaitsNow]:
        """Return what to report after a look at the process.

        ``threads``: of each thread that waits without a limit, something that changes when it runs; None for
        any other thread. ``tasks`` run here, and no report of their own tells what they wait for.
        ``awaited``: the open tasks whose outcome can wake a thread.
        """
        seen = dict(threads), tasks, awaited
        if not awaited or not self._wait(threads) or seen != self._seen:
            self._seen, self._since = seen, now
            return self._report({})
        if now - self._since < self._quiet_s:
            return self._report({})
        return self._report(dict.fromkeys(tasks, awaited))

    @staticmethod
    def _wait(threads: Mapping[int, Hashable | None]) -> bool:
        return None not in threads.values()

    def _report(self, waits: dict[Attempt, tuple[bytes, ...]]) -> list[WaitsNow]:
        ended = [WaitsNow(*attempt, ()) for attempt in self._told if attempt not in waits]
        begun = [WaitsNow(*attempt, waits[attempt]) for attempt in waits if attempt not in self._told]
        self._told = waits
        return ended + begun
