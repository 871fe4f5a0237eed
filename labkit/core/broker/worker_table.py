"""The broker's table of workers, and the index that finds the least busy one in constant time.

::

    (start)  -> ready     joined (hello)
    ready    -> suspect   suspect (silent for suspect_s)
    suspect  -> ready     alive (heard again)
    ready    -> draining  draining (it is leaving)
    ready    -> lost      lost (closed, lease, or rejoined)
    suspect  -> lost      lost (silent for dead_s, closed, or rejoined)
    draining -> lost      lost (silent, closed, lease, or rejoined)
    ready    -> left      left (goodbye)
    draining -> left      left (goodbye)

Workers with the same capabilities form a *group*. A group has one ordered dictionary per load (tasks in
flight), which holds the workers that may get a task now. A worker whose load changes goes to the end of its
new load. So the first worker of the lowest non-empty load is the least busy one, and the least recently used
among equals: the choice of ``policies.least_busy``, at the same cost for 3 workers as for 10,000.

*Credit is time, not count.* A worker may hold ``slots + 1`` tasks, so that the next one is there when it
finishes. It gets more only while everything it holds is expected to take less than ``work_ahead_s``. So tiny
tasks keep a worker busy, and no worker hoards long tasks while another is idle. The expected time of a job is
a moving average of its past runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from labkit.core.broker.records import Group, OpenTask, Route, Worker
from labkit.core.protocol.rules import MAX_SLOTS, Rules
from labkit.core.transitions import START, Transitions

TRANSITIONS: Transitions = {
    (START, "ready"): "joined (hello)",
    ("ready", "suspect"): "suspect (silent for suspect_s)",
    ("suspect", "ready"): "alive (heard again)",
    ("ready", "draining"): "draining (it is leaving)",
    ("ready", "lost"): "lost (closed, lease, or rejoined)",
    ("suspect", "lost"): "lost (silent for dead_s, closed, or rejoined)",
    ("draining", "lost"): "lost (silent, closed, lease, or rejoined)",
    ("ready", "left"): "left (goodbye)",
    ("draining", "left"): "left (goodbye)",
}
"""The phases of a worker as the broker sees it, with the events of the history."""

MAX_JOBS_REMEMBERED = 4096
MAX_DEPARTED_REMEMBERED = 256
MAX_STALE_ROUTES = 4096
LONGEST_RUN_S = 1e6


class WorkerTable:
    """All living workers, by id and by route, and what is remembered of the departed."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._highest = max(rules.max_ahead, MAX_SLOTS)
        self._clock = 0
        self._by_id: dict[str, Worker] = {}
        self._by_route: dict[Route, Worker] = {}
        self._groups: dict[frozenset[str], Group] = {}
        self._matching: dict[frozenset[str], tuple[Group, ...]] = {}
        self._mean_s: dict[str, float] = {}
        self.departed: dict[str, tuple[Worker, str]] = {}
        self.stale: dict[Route, bytes] = {}
        """Connections of lost workers that may still stand, and the key of the worker that each one had."""

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: str) -> Worker | None:
        """Return the living worker of this id."""
        return self._by_id.get(id)

    def at(self, route: Route) -> Worker | None:
        """Return the living worker at this connection."""
        return self._by_route.get(route)

    def join(self, worker: Worker) -> None:
        """Add a new worker. Its id must be free."""
        self._by_id[worker.id] = worker
        self._by_route[worker.route] = worker
        self.departed.pop(worker.id, None)
        self.stale.pop(worker.route, None)
        group = self._groups.get(worker.capabilities)
        if group is None:
            group = self._groups[worker.capabilities] = Group(worker.capabilities, self._highest)
            self._matching.clear()
        group.members += 1
        worker.group = group
        self.touch(worker)

    def remove(self, worker: Worker, status: str, connected: bool = False) -> None:
        """Remove a worker and remember it as ``lost`` or ``left``.

        ``connected``: its connection may still stand, and bring messages.
        """
        del self._by_id[worker.id]
        del self._by_route[worker.route]
        group = worker.group
        assert group is not None
        group.discard(worker)
        group.members -= 1
        if not group.members:
            del self._groups[group.capabilities]
            self._matching.clear()
        self.departed[worker.id] = worker, status
        if len(self.departed) > MAX_DEPARTED_REMEMBERED:
            del self.departed[next(iter(self.departed))]
        if connected:
            self.stale[worker.route] = worker.key
            if len(self.stale) > MAX_STALE_ROUTES:
                del self.stale[next(iter(self.stale))]

    # --- load and credit ------------------------------------------------------------------------------------

    def has_credit(self, worker: Worker) -> bool:
        """Return whether this worker may get one more task now."""
        if worker.suspect or worker.draining or worker.held_up:
            return False
        if worker.in_flight <= worker.slots:
            return True
        return (
            worker.ahead_s < self._rules.work_ahead_s * worker.slots
            and worker.in_flight < self._rules.max_ahead
        )

    def touch(self, worker: Worker) -> None:
        """List a worker under its present load, as the most recently used one."""
        self._clock += 1
        worker.last_used = self._clock
        group = worker.group
        assert group is not None
        group.discard(worker)
        if self.has_credit(worker):
            group.add(worker)

    def dispatched(self, worker: Worker, task: OpenTask) -> None:
        """Charge a task to a worker."""
        worker.tasks[task.id] = task
        worker.in_flight += 1
        task.expected_s = self._mean_s.get(task.job, self._rules.work_ahead_s)
        worker.ahead_s += task.expected_s
        self.touch(worker)
        worker.last_dispatch = self._clock

    def released(self, worker: Worker, task: OpenTask) -> None:
        """Give a worker its credit back: the task ended, or the worker returned it."""
        del worker.tasks[task.id]
        worker.in_flight -= 1
        worker.ahead_s = worker.ahead_s - task.expected_s if worker.in_flight else 0.0
        self.touch(worker)

    def revoked(self, worker: Worker, task: OpenTask) -> None:
        """Take a task from a living worker, which stays charged until it answers: it may be computing it."""
        del worker.tasks[task.id]
        worker.revoked[task.id, task.attempt] = task.expected_s

    def answered(self, worker: Worker, task_id: bytes, attempt: int) -> None:
        """Give a worker its credit back for a revoked attempt; any other attempt is ignored."""
        expected_s = worker.revoked.pop((task_id, attempt), None)
        if expected_s is not None:
            worker.in_flight -= 1
            worker.ahead_s = worker.ahead_s - expected_s if worker.in_flight else 0.0
            self.touch(worker)

    def learn(self, job: str, compute_s: float) -> None:
        """Remember how long a run of this job took; a time that no clock can have measured is ignored."""
        if not 0.0 <= compute_s < LONGEST_RUN_S:  # NaN, too
            return
        mean = self._mean_s.get(job)
        if mean is None:
            if len(self._mean_s) >= MAX_JOBS_REMEMBERED:
                del self._mean_s[next(iter(self._mean_s))]
            self._mean_s[job] = compute_s
        else:
            self._mean_s[job] = mean + (compute_s - mean) * 0.2

    def expected_s(self, job: str) -> float | None:
        """Return the expected time of a run of this job in seconds; None if no run has ended yet."""
        return self._mean_s.get(job)

    # --- choosing -------------------------------------------------------------------------------------------

    def least_busy(self, needs: frozenset[str]) -> Worker | None:
        """Return the worker that ``policies.least_busy`` would choose for these needs, in constant time."""
        groups = self._matching.get(needs)
        if groups is None:
            if len(self._matching) > MAX_JOBS_REMEMBERED:
                self._matching.clear()
            groups = self._matching[needs] = tuple(
                group
                for group in self._groups.values()
                if not group.capabilities or needs <= group.capabilities
            )
        best: Worker | None = None
        for group in groups:
            worker = group.first()
            if worker is not None and (
                best is None or (worker.in_flight, worker.last_used) < (best.in_flight, best.last_used)
            ):
                best = worker
        return best

    def eligible(self, needs: frozenset[str]) -> list[Worker]:
        """Return all workers that may get a task with these needs now."""
        return [worker for worker in self._by_id.values() if worker.listed is not None and worker.can(needs)]

    def any_can(self, needs: frozenset[str]) -> bool:
        """Return whether a living worker states these capabilities, busy or not."""
        return any(worker.can(needs) for worker in self._by_id.values())

    def all_tasks(self) -> Iterable[OpenTask]:
        """Yield every assigned task."""
        for worker in self._by_id.values():
            yield from worker.tasks.values()
