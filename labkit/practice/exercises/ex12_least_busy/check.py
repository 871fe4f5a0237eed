"""Least busy against round robin: no task may wait longer than least-busy placement makes it wait.

Simulated: tasks of uneven length arrive one by one at three workers. The sum of all waits is compared with
that of the lab's own policies on the same seed. Real: a cluster whose broker runs the learner's function;
the recorded history shows whether a busier worker was ever preferred.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.core import history as h
from labkit.core.broker.policies import TaskView, WorkerView
from labkit.core.errors import N_
from labkit.core.history import Event, History
from labkit.practice.clusters import private_cluster, run_sleeps
from labkit.practice.learner import Learner
from labkit.practice.piece import shown_run
from labkit.practice.policies import Remote, judge_real_run
from labkit.practice.verdict import Finding
from labkit.simulation import simulate
from labkit.simulation.scenario import Place, uneven

TASKS, WORKERS, EVERY_S = 40, 3, 0.12
RUN_S = 6.0
TOLERANCE, SLACK_S = 1.15, 0.1
REAL_TASKS_S = [0.2, 0.02, 0.02, 0.02, 0.02] * 6


def simulated(learner: Learner, seed: int) -> None:
    """Compare the sums of waits on one seed."""
    scenario = uneven(seed, TASKS, [Place()] * WORKERS, EVERY_S)
    policy = Remote(learner)
    run = simulate(seed, faults=(), policy=policy, safety_s=RUN_S, scenario=scenario)
    policy.raise_failure(run)
    run.require_ok()
    best_s = max(
        waited_s(simulate(seed, faults=(), policy=known, safety_s=RUN_S, scenario=scenario).history)
        for known in ("least_busy", _fewest_in_flight)
    )
    waited = waited_s(run.history)
    if waited <= TOLERANCE * best_s + SLACK_S:
        return
    finding = Finding(
        "waits-too-long",
        N_("the {tasks} tasks waited {waited:.2f} s in all"),
        expected=N_("they wait no longer than with least-busy placement: {best:.2f} s in all"),
        advice=N_("Which worker is free soonest? A worker's in_flight shows how many tasks it holds now."),
        tasks=TASKS,
        waited=waited,
        best=best_s,
    )
    finding.timeline = shown_run(run)
    raise finding


def _fewest_in_flight(_task: TaskView, workers: Sequence[WorkerView], _now: float) -> WorkerView:
    """Return the least busy worker; among equals the first, which is good enough for this exercise."""
    return min(workers, key=lambda worker: worker.in_flight)


def real(learner: Learner) -> None:
    """Judge each choice of a real broker by its own history."""
    with private_cluster(learner, WORKERS, policy=f"work.{learner.exercise.module}:choose") as cluster:
        history = run_sleeps(cluster, REAL_TASKS_S, every_s=0.04)
    judge(history)


def judge(history: History) -> None:
    """Raise Finding if a task was sent to a busier worker than necessary.

    A broker offers no worker that it has not heard for a while, so none of those counts. Nor does one from
    which a task was taken away.
    """
    judge_real_run(history)
    held: dict[str, int] = {}
    """By worker that may get work."""
    away: dict[str, int] = {}
    """By worker that may not, because it is silent."""
    holder: dict[str, str] = {}
    for event in history.events:
        if event.kind == h.JOINED:
            away.pop(event.worker, None)
            held[event.worker] = 0
        elif event.kind == h.SUSPECT and event.worker in held:
            away[event.worker] = held.pop(event.worker)
        elif event.kind == h.ALIVE and event.worker in away:
            held[event.worker] = away.pop(event.worker)
        elif event.kind in (h.LOST, h.LEFT, h.DRAINING):
            held.pop(event.worker, None)
            away.pop(event.worker, None)
        elif event.kind == h.DISPATCHED and event.worker in held:
            _judge_choice(event, held)
            held[event.worker] += 1
            holder[event.task] = event.worker
        elif event.kind in h.OUTCOMES and event.task in holder:
            worker = holder.pop(event.task)
            for side in (held, away):
                if worker in side:
                    side[worker] -= 1
        elif event.kind == h.REQUEUED:  # the broker still counts it until this worker answers
            held.pop(holder.pop(event.task, ""), None)


def _judge_choice(event: Event, held: dict[str, int]) -> None:
    least = min(held.values())
    if held[event.worker] > least:
        raise Finding(
            "busier-worker",
            N_("{worker} held {held} tasks and got another one, while a worker held {least}"),
            expected=N_("each task goes to a worker that holds as few tasks as possible"),
            advice=N_("Compare in_flight of all workers, then choose the smallest."),
            worker=event.worker,
            held=held[event.worker],
            least=least,
        )


def waited_s(events: list[Event]) -> float:
    """Return how long all tasks together waited from their submission to their start, in seconds."""
    submitted = {event.task: event.at for event in events if event.kind == h.SUBMITTED}
    return sum(event.at - submitted[event.task] for event in events if event.kind == h.STARTED)
