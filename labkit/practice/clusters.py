"""Private clusters for the real stage of a check: local processes, ports and a run folder of their own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from labkit.cluster import Cluster
from labkit.cluster.open import open_cluster
from labkit.core.errors import N_, LabkitError
from labkit.core.history import OUTCOMES, SUBMITTED, History, LiveView, excerpt
from labkit.jobs import add, sleep_for
from labkit.practice.learner import Learner
from labkit.practice.verdict import Inconclusive
from labkit.support.settings import Settings

PATIENCE_S = 15.0
POLL_S = 0.005


@contextmanager
def private_cluster(
    learner: Learner, workers: int, *, policy: str | None = None, redis: bool = False
) -> Iterator[Cluster]:
    """Open a cluster whose processes import the learner's ``work/``; the user's settings do not count."""
    with tempfile.TemporaryDirectory(prefix="labkit-practice-") as home:
        settings = replace(Settings(), home=Path(home), work=learner.root)
        with open_cluster(
            workers,
            backend="local",
            policy=policy,
            redis=redis,
            settings=settings,
            ready_timeout_s=PATIENCE_S,
        ) as cluster:
            yield cluster


def tasks_so_far(cluster: Cluster) -> list[str]:
    """Return the ids of all tasks that the broker has received until now, in their order.

    A task of our own marks the moment: as soon as the history has its end, it has all that came before.
    """
    with cluster.client("practice") as client:
        mark = client.submit(add, 1, 1)
        until(mark.done, LabkitError(N_("the cluster did a task of the check's own")))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        events = cluster.history().events
        if any(event.kind in OUTCOMES and event.task == mark.task_id for event in events):
            submitted = [event.task for event in events if event.kind == SUBMITTED]
            return submitted[: submitted.index(mark.task_id)]
        time.sleep(POLL_S)
    raise Inconclusive(
        N_("the cluster had not written its history after {seconds:.0f} s"), seconds=PATIENCE_S
    )


Disturb = Callable[[Cluster, LiveView], bool]
"""Looks at the state and may do something to the cluster; returns whether it is done with it."""


def kill_while_computing(worker: str) -> Disturb:
    """Return a disturbance: kill this worker as soon as the history shows that it computes."""

    def disturb(cluster: Cluster, view: LiveView) -> bool:
        if not view.worker(worker).computing:
            return False
        cluster.kill(worker)
        return True

    return disturb


def run_sleeps(
    cluster: Cluster,
    seconds: Sequence[float],
    every_s: float = 0.0,
    disturb: Disturb = lambda _cluster, _view: True,
) -> History:
    """Submit a task for each of ``seconds``, which sleeps that long on its worker; return their history.

    ``disturb`` is asked again and again until it is done. A task that fails is in the history like any other.
    Raises Inconclusive if they do not all end within ``PATIENCE_S``.
    """
    with cluster.client("practice") as client:
        futures = []
        for duration in seconds:
            futures.append(client.submit(sleep_for, duration))
            time.sleep(every_s)
        tasks = {future.task_id for future in futures}
        view = LiveView(of=tasks)
        read = 0
        done = False
        deadline = time.monotonic() + PATIENCE_S
        while len(view.ended) < len(tasks):
            events = cluster.history().events
            view.extend(events[read:])
            read = len(events)
            done = done or disturb(cluster, view)
            if time.monotonic() > deadline:
                raise Inconclusive(
                    N_("after {seconds:.0f} s not all tasks had ended ({ended} of {tasks})"),
                    ended=len(view.ended),
                    tasks=len(tasks),
                    seconds=PATIENCE_S,
                )
            time.sleep(POLL_S)
        return History(excerpt(cluster.history().events, tasks))


def until(condition: Callable[[], bool], what: LabkitError) -> None:
    """Wait until ``condition`` holds. Raises Inconclusive, which names ``what``, after ``PATIENCE_S``."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Inconclusive(
                N_("after {seconds:.0f} s this had not happened: {what}"), seconds=PATIENCE_S, what=what
            )
        time.sleep(POLL_S)
