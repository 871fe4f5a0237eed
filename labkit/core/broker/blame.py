"""Blame: which task crashed, hung or silenced its worker, and which verdicts are final.

Part of the scheduler; only its parts import this module. Rules:

* Only tasks that had *started* in a worker are blamed when its connection breaks. Every task that it held is
  tried again *carefully* (announced, confirmed, and alone), so that the next crash leaves evidence.
* A silent worker may be frozen, cut off, or stuck in a call that keeps Python's interpreter lock. Every task
  that it held is tried again carefully, too. If its connection breaks before it says hello or goodbye, that
  was a crash. So it is when a task keeps the lock: the watchdog ends the worker (``workers.watchdog``).
* If a second worker falls silent while it runs the same task, the task waits, so that it does not silence
  worker after worker. The wait ends when that worker says hello or goodbye, when its connection breaks, or
  after the time in which a hang is noticed. No other message ends it: a task that keeps the lock again and
  again lets one through now and then.
* A broken connection counts as a crash until the same process says hello again; then the blame is taken back.
* A task that was running in ``max_crashes`` crashed workers is poison, unless workers die as often without it
  (``weighing``): then those crashes are forgiven, and it is tried again. If that is not known yet, the task
  waits for some seconds before the verdict.
* A worker that sends heartbeats but has not reported on an attempt within twice its lease has hung.
* A verdict (poison, or hung too often) stays when the client submits the task again, so that submitting again
  cannot cost more workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from labkit.core.broker.records import OpenTask, Route, Worker
from labkit.core.broker.weighing import GUILTY_BELOW, PATIENCE, Death, Lives, weigh
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

MAX_CRASHED_PROCESSES = 1024
MAX_SILENT = 4096
MAX_VERDICTS = 1024
MAX_ERROR = 256
"""Characters of an error that a verdict keeps."""


Key = TypeVar("Key")
Value = TypeVar("Value")


class Silence(NamedTuple):
    """A process that was given up as silent while its connection stands, and the tasks that ran in it."""

    instance: bytes
    tasks: tuple[bytes, ...]


class Verdict(Enum):
    """What becomes of a task whose worker crashed."""

    TRY_AGAIN = "try again"
    WAIT = "wait"
    """It is not known yet whether workers die anyway."""
    POISON = "poison"


class Blame:
    """See the module's head."""

    def __init__(self, rules: Rules, now: float) -> None:
        self._rules = rules
        self._lives = Lives(now)
        # Processes whose connection broke, with the tasks that are blamed, until such a process speaks again.
        self._crashed: dict[bytes, Death] = {}
        self.silent: dict[Route, Silence] = {}  # by connections that still stand
        self._verdicts: dict[bytes, m.Failed] = {}
        # Tasks that were in a crashed worker and never ran to their end: cancelled, or out of time.
        self._unknown: dict[bytes, None] = {}

    # --- crashes --------------------------------------------------------------------------------------------

    def count_lives(self, living: int, now: float) -> None:
        """Note that from now on so many workers live; called before ``note_crash``, too."""
        self._lives.change(living, now)

    def note_crash(self, worker: Worker) -> None:
        """Blame the started tasks of a worker whose connection broke; all its tasks become careful."""
        for task in worker.tasks.values():
            task.careful = True
        now = self._lives.at
        ran_s = {task: max(0.0, now - at) for task, at in _started(worker).items()}
        self._blame(worker.instance, ran_s, tuple(worker.tasks))

    def _blame(self, instance: bytes, ran_s: Mapping[OpenTask, float], held: tuple[bytes, ...]) -> None:
        for task in ran_s:
            if task.crashes < self._rules.max_crashes:  # one that waits for its verdict has enough
                task.crashed += (instance,)
        at = self._lives.at
        ran = {task.id: seconds for task, seconds in ran_s.items()}
        self._crashed[instance] = Death(at, self._lives.seconds(at), ran, held)
        _keep_below(self._crashed, MAX_CRASHED_PROCESSES)

    def acquit(self, instance: bytes, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """Take back all blame for this process: it says hello, so it has not crashed.

        Returns which of the open ``tasks`` were running in it when it fell silent; they need not wait longer.
        """
        death = self._crashed.pop(instance, None)
        for task in _still_open(() if death is None else death.ran_s, tasks):
            task.crashed = tuple(other for other in task.crashed if other != instance)
        routes = [route for route, silence in self.silent.items() if silence.instance == instance]
        return [task for route in routes for task in self.end_silence(route, tasks)]

    def judge(
        self, task: OpenTask, tasks: Mapping[bytes, OpenTask], now: float, may_wait: bool = True
    ) -> Verdict:
        """Return the verdict on an open task that may have crashed too many workers.

        ``tasks`` are all that are open. A task that is to be tried again is forgiven if it was a suspect.
        """
        most = self._rules.max_crashes
        if task.crashes < most:
            task.suspect_since = None
            return Verdict.TRY_AGAIN
        others = self._verdicts.keys() | self._unknown
        weight = weigh(task, self._crashed, self._lives.seconds(now), tasks, others, most)
        forgiven = weight.chance >= GUILTY_BELOW
        if may_wait and not forgiven and weight.at_most >= GUILTY_BELOW:
            if task.suspect_since is None:
                task.suspect_since = now
            patience_s = self._rules.dead_s * (PATIENCE if weight.undecided else 1.0)
            if now < task.suspect_since + patience_s:
                return Verdict.WAIT
        task.suspect_since = None
        if not forgiven:
            return Verdict.POISON
        task.crashed = ()
        task.forgiven = True
        return Verdict.TRY_AGAIN

    # --- silence --------------------------------------------------------------------------------------------

    def note_silence(self, worker: Worker) -> None:
        """Remember what ran in a worker that is given up as silent; all its tasks become careful."""
        for task in worker.tasks.values():
            task.careful = True
            task.silences += 1
        if started := _started(worker):
            self.silent[worker.route] = Silence(worker.instance, tuple(task.id for task in started))
            _keep_below(self.silent, MAX_SILENT)

    def wait_s(self, task: OpenTask) -> float:
        """Return how long this task, whose worker just fell silent, waits at most; for most tasks 0."""
        return self._notice_s(task) if task.silences > 1 and task.started_at is not None else 0.0

    def end_silence(self, route: Route, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """Forget the silent process at this connection; return which of the open ``tasks`` ran in it."""
        silence = self.silent.pop(route, None)
        return [] if silence is None else _still_open(silence.tasks, tasks)

    def note_crash_of_silent(self, route: Route, tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
        """Note that this connection broke: a silent process at its other end has crashed.

        Returns which of the open ``tasks`` are blamed for it.
        """
        silence = self.silent.get(route)
        if silence is None:
            return []
        started = self.end_silence(route, tasks)
        # It silenced its worker before that died: more than chance, however long it ran.
        self._blame(silence.instance, dict.fromkeys(started, 0.0), silence.tasks)
        return started

    # --- hangs ----------------------------------------------------------------------------------------------

    def is_hung(self, task: OpenTask, now: float) -> bool:
        """Return whether the report of its worker is overdue."""
        return task.started_at is not None and now > task.started_at + self._notice_s(task)

    def _notice_s(self, task: OpenTask) -> float:
        """Twice the lease: a worker's own count stops while its process is frozen; this one does not."""
        return 2 * task.lease_s + self._rules.dead_s

    def note_hang(self, task: OpenTask, attempt: int) -> bool:
        """Note that this attempt outran its lease; return whether the task has hung too often."""
        task.hung |= {attempt}
        return task.hangs >= self._rules.max_hangs

    # --- verdicts -------------------------------------------------------------------------------------------

    def record(self, failed: m.Failed) -> None:
        """Remember the failure of a task that cost workers; other failures are not remembered."""
        if failed.code in ("POISONED", "HUNG"):
            self._verdicts[failed.task] = failed._replace(error=failed.error[:MAX_ERROR], payload=m.EMPTY)
            _keep_below(self._verdicts, MAX_VERDICTS)

    def note_unknown(self, task: OpenTask) -> None:
        """Note that a task ends without having run to its end: what it would have done stays unknown."""
        if task.careful:
            self._unknown[task.id] = None
            _keep_below(self._unknown, MAX_VERDICTS)

    def verdict(self, task: bytes) -> m.Failed | None:
        """Return the final verdict on this task, or None."""
        return self._verdicts.get(task)


def _started(worker: Worker) -> dict[OpenTask, float]:
    """Return the tasks that have started in this worker, each with the instant of its start."""
    return {task: task.started_at for task in worker.tasks.values() if task.started_at is not None}


def _still_open(ids: Iterable[bytes], tasks: Mapping[bytes, OpenTask]) -> list[OpenTask]:
    return [tasks[task_id] for task_id in ids if task_id in tasks]


def _keep_below(table: dict[Key, Value], most: int) -> None:
    if len(table) > most:
        del table[next(iter(table))]
