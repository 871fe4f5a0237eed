"""The work of a simulated run: what each task is, what computing it does, and the result that it must have.

A task's *behaviour* is what it does to a worker that computes it:

========  =====================================================================================
fine      it takes its time and has a result
raises    it takes its time and raises
hangs     it never ends
locks     it never ends and keeps the interpreter lock: nothing else in its process runs, no heartbeat either
stalls    it takes its time and has a result, but first keeps the lock for seconds, two or three times
poison    it kills its worker's process
nests     it submits a fine task to the same cluster and waits for it; if that fails, it raises. Some wait by
          ``result``, others in a way that only the process shows, after they have computed for a while; some
          only compute
========  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final, NamedTuple

from labkit.core.protocol import messages as m

CAPABILITIES: Final = ("blur", "edges", "resize")
IMPOSSIBLE: Final = "teleport"
"""A capability that no worker has."""
_BULK: Final = bytes(20 << 20)


class Work(NamedTuple):
    """One task of the run. Times in seconds since the run began."""

    task: bytes
    behaviour: str
    job: str
    needs: str
    compute_s: float
    bulk: bool  # arguments and result of 20 MB: seconds on a slow link
    submit_at: float
    budget_s: float
    cancel_at: float | None

    @property
    def nest_kind(self) -> tuple[str, float]:
        """Return how a task that nests goes on after it has submitted, and how long it computes before that.

        ``result``: it tells its client what it waits for; ``threads``: its threads wait; ``computes``: it
        ends without waiting.
        """
        kind, length = divmod(self.task[0], 4)
        busy_s = (0.0, 0.05, 1.0, 5.0)[length]
        return (("result", 0.0), ("threads", busy_s), ("computes", busy_s))[kind % 3]

    def nested(self, number: int, now: float) -> Work:
        """Return the task that a run of this one submits."""
        task = self.task[:8] + number.to_bytes(8, "big")
        return Work(task, "fine", "inner", "", 0.01, False, now, 3600.0, None)

    @property
    def arguments(self) -> m.Payload:
        """What travels to the worker."""
        return m.Payload(b"arguments of " + self.task, (_BULK,) if self.bulk else ())

    @property
    def result(self) -> m.Payload:
        """The only right result."""
        return m.Payload(b"result of " + self.task, (_BULK,) if self.bulk else ())


def plan(
    random: Random,
    tasks: int,
    over_s: float,
    lease_s: float,
    behaviours: Iterable[str],
    cancels: bool,
    bulk_share: float,
) -> list[Work]:
    """Return ``tasks`` tasks, submitted within ``over_s`` seconds; a few have one of ``behaviours``."""
    bad = list(behaviours)
    works = []
    burst_at = 0.0
    for number in range(tasks):
        if random.random() < 0.1:
            burst_at = random.random() * over_s
        behaviour = random.choice(bad) if bad and random.random() < 0.04 else "fine"
        job, compute_s = _duration(random, lease_s)
        needs, budget_s = _needs(random)
        if random.random() < 0.02:
            budget_s = random.uniform(0.3, 5.0)
        submit_at = burst_at if random.random() < 0.7 else random.random() * over_s
        cancel_at = None
        if cancels and random.random() < 0.15:
            cancel_at = submit_at + random.choice((0.0, 0.001, random.random() * 3))
        works.append(
            Work(
                random.randbytes(12) + number.to_bytes(4, "big"), behaviour, job, needs, compute_s,
                bulk=random.random() < bulk_share, submit_at=submit_at, budget_s=budget_s,
                cancel_at=cancel_at,
            )
        )  # fmt: skip
    return works


def _duration(random: Random, lease_s: float) -> tuple[str, float]:
    """Return a job's name and how long it computes: mostly tiny, some long, never near its lease."""
    kind = random.random()
    if kind < 0.4:
        return "tiny", random.uniform(0.00005, 0.0009)
    if kind < 0.9:
        return "photo", random.uniform(0.005, 0.08)
    return "long", random.uniform(0.2, min(1.5, lease_s / 2))


def _needs(random: Random) -> tuple[str, float]:
    """Return capabilities and a time budget, which is short for capabilities that no worker has."""
    kind = random.random()
    if kind < 0.7:
        return "", 3600.0
    if kind < 0.98:
        return ",".join(sorted(random.sample(CAPABILITIES, random.randint(1, 2)))), 3600.0
    return IMPOSSIBLE, random.uniform(0.5, 6.0)
