"""The batch on a cluster: submitted, interrupted by a kill -9, completed.

::

    warm up ─► submit all ─► a third is done and the victim computes ─► kill -9
            ─► 70 % are done, by the others ─► start it again ─► all results, every worker back

No step waits for a fixed time: the kill comes when the history shows that the victim has *started* a task,
the restart when it shows the results. Afterwards the history answers what happened. The client adds what only
it knows: each result, how often it was delivered, and how many late results it dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.core import history as h
from labkit.core.errors import N_, LabkitError
from labkit.core.history import History
from labkit.demo.batch import Picture
from labkit.demo.progress import Progress
from labkit.demo.story import Story
from labkit.demo.view import View
from labkit.imaging.filters import Step
from labkit.jobs import process_encoded

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture
    from labkit.cluster import Cluster

VICTIM = "worker-2"
KILL_AT, RESTART_AT = 1 / 3, 0.7
"""Of the batch's tasks."""
POLL_S = 0.02
WARM_UP_TRIES = 5
PATIENCE_S = 30.0
"""After this long without a result the demo gives up."""
DEADLINE_S = 120.0


class DemoFailed(LabkitError):
    """The demo could not be completed."""


@dataclass(frozen=True)
class Ran:
    """One run: the history without the warm-up, and what the client knows."""

    history: History
    recording: bytes
    """The whole recording as it was written, warm-up included: lines of JSON."""
    tasks: dict[str, int]
    """The number of each task's picture, by task id, in the order of submission."""
    names: dict[str, str]
    """The same with the pictures' names."""
    results: dict[str, bytes]
    """Each task's result, by task id."""
    deliveries: dict[str, int]
    """How often each task's future was resolved."""
    dropped: int
    """Second results that reached the client and were dropped."""
    submitted_at: float
    """When the first task was submitted, in seconds since the history's first event."""
    computing: str
    """The task that the victim was computing when it was killed."""


class Run:
    """See the module's head. ``perform`` may be called once."""

    def __init__(
        self,
        cluster: Cluster,
        workers: int,
        pictures: Sequence[Picture],
        rounds: int,
        steps: list[Step],
        view: View,
    ) -> None:
        self._cluster = cluster
        self._workers = [f"worker-{number + 1}" for number in range(workers)]
        self._pictures = pictures
        self._rounds = rounds
        self._steps = steps
        self._view = view
        self._tasks: dict[str, int] = {}  # the number of each task's picture
        self._results: dict[str, bytes] = {}
        self._different: dict[bytes, bytes] = {}
        self._deliveries: Counter[str] = Counter()
        self._computing = ""
        self._restarted = False

    def perform(self) -> Ran:
        """Return the run of the batch. Raises DemoFailed if it does not end, or a failed task's own error."""
        with self._cluster.client("demo") as client:
            warm = self._warm_up(client)
            futures: set[TaskFuture] = set()
            for _round in range(self._rounds):
                for number, picture in enumerate(self._pictures):
                    future = self._submit(client, picture)
                    future.add_done_callback(self._delivered)
                    futures.add(future)
                    self._tasks[future.task_id] = number
            names = {task: self._pictures[number].name for task, number in self._tasks.items()}
            self._progress = Progress(names, self._workers)
            self._story = Story(self._view.tell, names, VICTIM)
            self._story.submitted()
            self._follow(futures)
            return self._ran(client, warm)

    def _ran(self, client: Client, warm: set[str]) -> Ran:
        history = self._cluster.history()
        names = self._progress.tasks
        submitted = [
            event.at for event in history.events if event.kind == h.SUBMITTED and event.task in names
        ]
        return Ran(
            history=History(event for event in history.events if event.task not in warm),
            recording=self._recording(),
            tasks=self._tasks,
            names=names,
            results=self._results,
            deliveries=dict(self._deliveries),
            dropped=client.duplicates,
            submitted_at=min(submitted) - history.began_at,
            computing=self._computing,
        )

    def _submit(self, client: Client, picture: Picture) -> TaskFuture:
        return client.submit(process_encoded, picture.data, self._steps, deadline_s=DEADLINE_S)

    def _delivered(self, future: Any) -> None:
        self._deliveries[future.task_id] += 1

    def _keep(self, future: Any) -> None:
        """Keep a result; equal ones share memory. A task that failed ends the demo with its own error."""
        result = future.result()
        self._results[future.task_id] = self._different.setdefault(result, result)

    def _recording(self) -> bytes:
        whole = (self._cluster.folder / "events.jsonl").read_bytes()
        return whole[: whole.rfind(b"\n") + 1]

    def _warm_up(self, client: Client) -> set[str]:
        """Let each worker process a picture and return these tasks.

        The libraries that a worker loads with its first picture must not count in the measurement.
        """
        tasks: set[str] = set()
        cold = set(self._workers)
        for _try in range(WARM_UP_TRIES):
            futures = [self._submit(client, self._pictures[0]) for _ in self._workers]
            tasks |= {future.task_id for future in futures}
            for future in futures:
                future.result(PATIENCE_S)
                cold.discard(future.worker or "")
            if not cold:
                break
        return tasks

    # --- the run --------------------------------------------------------------------------------------------

    def _follow(self, futures: set[TaskFuture]) -> None:
        """Follow the run to its end; kill the victim and start it again on the way."""
        progress, story = self._progress, self._story
        left: set[Future[Any]] = {*futures}
        futures.clear()  # the only references: each result is freed once it is kept
        done_before, heard_at = 0, time.monotonic()
        self._view.begin(progress)
        while not self._is_over(left):
            history = self._cluster.history()
            progress.read(history)
            story.follow(history)
            self._view.update(progress)
            self._interfere()
            if progress.done != done_before:
                done_before, heard_at = progress.done, time.monotonic()
            elif time.monotonic() - heard_at > PATIENCE_S:
                raise self._stalled()
            if left:
                done, left = wait(left, POLL_S, FIRST_COMPLETED)
                for future in done:
                    self._keep(future)
            else:
                time.sleep(POLL_S)  # the history is written a moment after the result arrives
        if not self._computing:
            raise DemoFailed(N_("{worker} was never seen computing, so it was not killed"), worker=VICTIM)
        self._view.end(progress)

    def _interfere(self) -> None:
        """Kill the victim, or start it again, when the run has come to that point."""
        progress = self._progress
        victim, total = progress.workers[VICTIM], len(progress.tasks)
        if not self._computing and progress.done >= total * KILL_AT and victim.computing:
            self._computing = victim.computing
            self._story.killing(progress, self._computing)
            self._cluster.kill(VICTIM)
        elif not self._restarted and progress.done >= total * RESTART_AT and victim.state == "lost":
            self._restarted = True
            self._story.restarting(progress)
            self._cluster.start(VICTIM)

    def _is_over(self, left: set[Future[Any]]) -> bool:
        """Return whether every result has arrived and is in the history, and the victim is back."""
        progress = self._progress
        complete = len(progress.ended) == len(self._deliveries) == len(progress.tasks)
        back = self._restarted and progress.workers[VICTIM].state == "ready"
        return complete and not left and (back or not self._computing)

    def _stalled(self) -> DemoFailed:
        return DemoFailed(
            N_(
                "nothing happened for {seconds:.0f} s, with {done} of {total} done; "
                "is this machine overloaded?"
            ),
            seconds=PATIENCE_S,
            done=self._progress.done,
            total=len(self._progress.tasks),
        )
