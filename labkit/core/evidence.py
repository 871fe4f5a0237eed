"""Who is to blame: which task crashed its worker, which one hung it, and what was found for good.

Part of the scheduler's mind, and imported by nobody else. Rules:

* Only tasks that had *started* in a worker whose connection broke are blamed for the crash. All that it held
  is tried again *carefully*: announced, confirmed and alone, so that evidence cannot be lost any more.
* A broken connection is taken for a crash until the same process says hello again; then the blame is taken
  back.
* A worker that beats but has not reported on an attempt within twice its lease has hung with it.
* What was found of a task (poison, or it hung too often) stays found when its client asks again, so asking
  again cannot cost more workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.core import messages as m
from labkit.core.fleet import Worker
from labkit.core.rules import Rules
from labkit.core.tasks import OpenTask

MAX_CRASHED_PROCESSES = 1024
MAX_VERDICTS = 1024
MAX_WORDS = 256
"""Characters of an error that a verdict keeps."""


class Evidence:
    """See the module's head."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # Processes whose connection broke -> the tasks that are blamed, until such a process speaks again.
        self._crashed: dict[bytes, tuple[bytes, ...]] = {}
        self._verdicts: dict[bytes, m.Failed] = {}

    # --- crashes --------------------------------------------------------------------------------------------

    def blame_crash(self, worker: Worker) -> None:
        """The connection of this worker broke, with all that it holds."""
        started = [task for task in worker.tasks.values() if task.started_at is not None]
        for task in worker.tasks.values():
            task.careful = True
        for task in started:
            task.crashed += (worker.instance,)
        if started:
            self._crashed[worker.instance] = tuple(task.id for task in started)
            _keep_below(self._crashed, MAX_CRASHED_PROCESSES)

    def acquit(self, instance: bytes, tasks: Mapping[bytes, OpenTask]) -> None:
        """This process says hello, so it has not crashed, and none of the open ``tasks`` is to blame."""
        for task_id in self._crashed.pop(instance, ()):
            task = tasks.get(task_id)
            if task is not None:
                task.crashed = tuple(other for other in task.crashed if other != instance)

    def is_poison(self, task: OpenTask) -> bool:
        """Return whether the task has crashed as many workers as it may."""
        return task.crashes >= self._rules.max_crashes

    # --- hangs ----------------------------------------------------------------------------------------------

    def is_hung(self, task: OpenTask, now: float) -> bool:
        """Return whether its worker should have reported on it long ago.

        Twice the lease: a worker's own count stands still while its process is frozen, this one goes on.
        """
        return task.started_at is not None and now > task.started_at + 2 * task.lease_s + self._rules.dead_s

    def blame_hang(self, task: OpenTask) -> bool:
        """The task has outrun its lease; return whether that was once too often."""
        task.hangs += 1
        return task.hangs >= self._rules.max_hangs

    # --- verdicts -------------------------------------------------------------------------------------------

    def record(self, failed: m.Failed) -> None:
        """Remember what a client was told of a task that cost workers; of other failures nothing."""
        if failed.code in ("POISONED", "HUNG"):
            self._verdicts[failed.task] = failed._replace(error=failed.error[:MAX_WORDS], payload=m.EMPTY)
            _keep_below(self._verdicts, MAX_VERDICTS)

    def verdict(self, task: bytes) -> m.Failed | None:
        """Return what was found of this task, if anything was."""
        return self._verdicts.get(task)


def _keep_below(table: dict[bytes, Any], most: int) -> None:
    if len(table) > most:
        del table[next(iter(table))]
