"""Who is to blame: which task crashed its worker, which one hung it, and what was found for good.

Part of the scheduler's mind, and imported by nobody else. Rules:

* Only tasks that had *started* in a worker whose connection broke are blamed for the crash. All that it held
  is tried again *carefully*: announced, confirmed and alone, so that evidence cannot be lost any more.
* A worker that fell silent may be frozen, cut off, or stuck in a call that keeps Python's interpreter lock.
  All that it held is tried again carefully as well. If its connection then breaks before it has said hello
  again, or goodbye, that was a crash; the last of the three ends so, by its watchdog (``workers.watchdog``).
* A task that was running in a second worker when that fell silent waits until that has said either, or has
  ended, so that one task does not silence worker after worker; for as long as a hang may take to be noticed,
  at most. Another word does not do: it may come from between two calls that keep the lock.
* A broken connection is taken for a crash until the same process says hello again; then the blame is taken
  back.
* A worker that beats but has not reported on an attempt within twice its lease has hung with it.
* What was found of a task (poison, or it hung too often) stays found when its client asks again, so asking
  again cannot cost more workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from labkit.core.broker.records import OpenTask, Route, Worker
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

MAX_CRASHED_PROCESSES = 1024
MAX_SILENT = 4096
MAX_VERDICTS = 1024
MAX_WORDS = 256
"""Characters of an error that a verdict keeps."""


class Silence(NamedTuple):
    """A process that was given up as silent while its connection stands, and what was running in it."""

    instance: bytes
    tasks: tuple[bytes, ...]


class Blame:
    """See the module's head."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # Processes whose connection broke -> the tasks that are blamed, until such a process speaks again.
        self._crashed: dict[bytes, tuple[bytes, ...]] = {}
        self.silent: dict[Route, Silence] = {}  # by connections that still stand
        self._verdicts: dict[bytes, m.Failed] = {}

    # --- crashes --------------------------------------------------------------------------------------------

    def note_crash(self, worker: Worker) -> None:
        """The connection of this worker broke, with all that it holds."""
        for task in worker.tasks.values():
            task.careful = True
        self._blame(worker.instance, _started(worker))

    def _blame(self, instance: bytes, started: list[OpenTask]) -> None:
        for task in started:
            task.crashed += (instance,)
        if started:
            self._crashed[instance] = tuple(task.id for task in started)
            _keep_below(self._crashed, MAX_CRASHED_PROCESSES)

    def acquit(self, instance: bytes, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """This process says hello, so it has not crashed, and none of the open ``tasks`` is to blame.

        Returns those that had been running in it when it fell silent: they need not wait for it any more.
        """
        for task in _still_open(self._crashed.pop(instance, ()), tasks):
            task.crashed = tuple(other for other in task.crashed if other != instance)
        routes = [route for route, silence in self.silent.items() if silence.instance == instance]
        return [task for route in routes for task in self.end_silence(route, tasks)]

    def is_poison(self, task: OpenTask) -> bool:
        """Return whether the task has crashed as many workers as it may."""
        return task.crashes >= self._rules.max_crashes

    # --- silence --------------------------------------------------------------------------------------------

    def note_silence(self, worker: Worker) -> None:
        """This worker has said nothing for too long, and is given up with all that it holds."""
        for task in worker.tasks.values():
            task.careful = True
            task.silences += 1
        if started := _started(worker):
            self.silent[worker.route] = Silence(worker.instance, tuple(task.id for task in started))
            _keep_below(self.silent, MAX_SILENT)

    def wait_s(self, task: OpenTask) -> float:
        """Return how long this task, whose worker just fell silent, is to wait at most; mostly 0."""
        return self._notice_s(task) if task.silences > 1 and task.started_at is not None else 0.0

    def end_silence(self, route: Route, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """Whoever fell silent is done with what ran in it: return which of the ``tasks`` are open."""
        silence = self.silent.pop(route, None)
        return [] if silence is None else _still_open(silence.tasks, tasks)

    def note_crash_of_silent(self, route: Route, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """This connection broke: if a silent process was at its end, that has crashed without a word.

        Returns the open ``tasks`` that are blamed for it.
        """
        silence = self.silent.get(route)
        if silence is None:
            return []
        started = self.end_silence(route, tasks)
        self._blame(silence.instance, started)
        return started

    # --- hangs ----------------------------------------------------------------------------------------------

    def is_hung(self, task: OpenTask, now: float) -> bool:
        """Return whether its worker should have reported on it long ago."""
        return task.started_at is not None and now > task.started_at + self._notice_s(task)

    def _notice_s(self, task: OpenTask) -> float:
        """Twice the lease: a worker's own count stands still while its process is frozen, this goes on."""
        return 2 * task.lease_s + self._rules.dead_s

    def note_hang(self, task: OpenTask, attempt: int) -> bool:
        """This attempt has outrun its lease, whoever says so; return whether that was once too often."""
        task.hung |= {attempt}
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


def _started(worker: Worker) -> list[OpenTask]:
    return [task for task in worker.tasks.values() if task.started_at is not None]


def _still_open(ids: Iterable[bytes], tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
    return [tasks[task_id] for task_id in ids if task_id in tasks]


def _keep_below(table: dict[Any, Any], most: int) -> None:
    if len(table) > most:
        del table[next(iter(table))]
