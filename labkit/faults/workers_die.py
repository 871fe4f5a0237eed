"""Cases: workers that are killed, frozen, slow, or that claim a name in use."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from random import Random

import psutil

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import History
from labkit.core.protocol import exit_codes
from labkit.faults.case import case
from labkit.faults.test_bed import CannotTry, TestBed

KILLS = 6
STORM_WORKERS = 4
STORM_TASKS, STORM_TASK_S = 500, 0.35
STORM_S, STORM_EVERY_S = 60.0, 0.7
STORM_KILLS = 20
"""Fewer kills prove nothing."""
KEEP_OPEN = 100
"""Open tasks at each kill."""


@case(
    "kill-storm",
    fault=N_("kill -9 of workers that compute, six times"),
    promise=N_("noticed within 0.1 s; their tasks are first in the queue again; nothing lost"),
)
def kill_storm(bed: TestBed) -> None:
    """Kill one worker after another, each when it has started a task; start each again."""
    client, work = bed.client(), bed.work
    began = time.monotonic()
    for number in range(KILLS):
        work.sleepers(client, KEEP_OPEN - (len(work.futures) - work.done), 0.02)
        victim, _task = bed.wait_for_start([f"worker-{number % 3 + 1}"])
        killed_at = bed.cluster.kill(victim)
        bed.cluster.start(victim)
        bed.wait_for(h.JOINED, worker=victim, since=killed_at)
    bed.finish_work()
    judge = bed.judge
    kills = [recovery for recovery in bed.history.recoveries() if recovery.fault == "kill"]
    noticed = [kill.detection_s for kill in kills if kill.detection_s is not None]
    judge.count(N_("{n} of {wanted} kills noticed"), len(noticed), KILLS)
    judge.within(N_("each within {seconds}"), max(noticed, default=0.0), 0.1, began)
    judge.count(N_("{n} requeued tasks were overtaken"), overtaken(bed.history), 0)
    for kill in kills:
        judge.detected(kill.detection_s)
        judge.recovered(kill.recovery_s)


def overtaken(history: History) -> int:
    """Return how many requeued tasks waited while a task was dispatched for the first time."""
    waiting: set[str] = set()
    sent: set[str] = set()
    late: set[str] = set()
    for event in history.events:
        if event.kind == h.REQUEUED:
            waiting.add(event.task)
        elif event.kind == h.DISPATCHED:
            waiting.discard(event.task)
            if event.task not in sent:
                late |= waiting
            sent.add(event.task)
        elif event.kind in h.OUTCOMES:
            waiting.discard(event.task)
    return len(late)


@case(
    "storm",
    fault=N_("kill -9 of a random worker every 0.7 s, for up to 60 s, while 500 tasks are computed"),
    promise=N_("every task is done; none is blamed, because workers die without it, too"),
    workers=STORM_WORKERS,
)
def storm(bed: TestBed) -> None:
    """Kill workers from outside, as no command does, as long as there is work."""
    client, work, judge = bed.client(), bed.work, bed.judge
    work.sleepers(client, STORM_TASKS, STORM_TASK_S)
    bed.wait_for_start()
    random = Random()
    kills, ends_at = 0, time.monotonic() + STORM_S
    while time.monotonic() < ends_at and work.done < len(work.futures):
        rows = bed.cluster.status()["processes"]
        victims = [row for row in rows if row["kind"] == "worker" and row["pid"] is not None]
        if victims:
            victim = random.choice(victims)
            client.note("kill", victim["name"])
            with suppress(psutil.NoSuchProcess):
                psutil.Process(victim["pid"]).kill()
                kills += 1
        time.sleep(STORM_EVERY_S)  # the fault itself
    if kills < STORM_KILLS:
        raise CannotTry(N_("the machine allowed {kills} kills only; that is no storm"), kills=kills)
    bed.finish_work()
    poisoned = {event.task for event in bed.events(h.POISONED)}
    judge.count(N_("{n} innocent tasks POISONED"), len(poisoned), 0)
    judge.true(N_("{kills} kills, {lost} workers lost"), True, kills=kills, lost=len(bed.events(h.LOST)))


@case(
    "freeze",
    fault=N_("SIGSTOP of a worker that computes, until long after it was given up; then SIGCONT"),
    promise=N_("given up within 2.5 s; informed when it wakes; back as a new worker within 3 s"),
)
def freeze(bed: TestBed) -> None:
    """Freeze a worker that has started a task until it is given up; wake it when all work is done."""
    client, work, judge = bed.client(), bed.work, bed.judge
    work.sleepers(client, 120, 0.05)
    victim, _task = bed.wait_for_start()
    frozen_at = bed.cluster.pause(victim)
    lost = bed.wait_for(h.LOST, worker=victim, since=frozen_at)
    judge.within(N_("given up after {seconds}"), lost.at - frozen_at, 2.5, frozen_at)
    judge.true(N_("for its silence, not for a closed connection"), lost.detail["cause"] == "silent")
    bed.wait_for_progress(len(work.futures))
    woken_at = bed.cluster.resume(victim)
    joined = bed.wait_for(h.JOINED, worker=victim, since=woken_at)
    judge.within(N_("back {seconds} after it woke"), joined.at - woken_at, 3.0, woken_at)
    epochs = {event.detail["epoch"] for event in bed.events(h.JOINED, worker=victim)}
    judge.count_unless_slow(N_("{n} epochs of it"), len(epochs), 2, bed.silencing_s)
    work.sleepers(client, 30, 0.02)
    bed.finish_work()
    since = joined.at - bed.history.began_at
    judge.unless_slow(
        N_("it computes again"), bed.history.share(since=since).get(victim), bed.silencing_s, joined.at
    )
    judge.detected(lost.at - frozen_at)
    for recovery in bed.history.recoveries():
        if recovery.fault == "pause":
            judge.recovered(recovery.recovery_s)


class Slowed:
    """Slows a process down while it is entered: it runs 0.1 s, then stands still for 0.3 s, and so on.

    The slowness itself is a time, so this does not wait for events.
    """

    RUN_S, STAND_S = 0.1, 0.3

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._alternate, name="labkit-slowed", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _alternate(self) -> None:
        while not self._over.wait(self.RUN_S):
            self._process.suspend()
            try:
                self._over.wait(self.STAND_S)
            finally:
                self._process.resume()


@case(
    "slow-worker",
    fault=N_("a worker that stands still three quarters of the time"),
    promise=N_("never given up, as it beats; the work goes round it"),
)
def slow_worker(bed: TestBed) -> None:
    """Slow one worker down and submit many small tasks."""
    client, work, judge = bed.client(), bed.work, bed.judge
    slow = "worker-2"
    client.note("slow", slow)
    with Slowed(bed.pid_of(slow)):
        work.sleepers(client, 300, 0.01)
        bed.finish_work()
    bed.expect_no_loss()
    share = bed.history.share()
    others = min(n for name, n in share.items() if name != slow)
    rules = bed.settings.rules
    judge.unless_slow(
        N_("it did {slow} tasks, the others at least {others} each"),
        share[slow] < others,
        rules.suspect_s,
        slow=share[slow],
        others=others,
    )


@case(
    "duplicate-id",
    fault=N_("a second worker that calls itself worker-1"),
    promise=N_("it is refused and leaves with exit code 75; the first one is unharmed"),
)
def duplicate_id(bed: TestBed) -> None:
    """Start a second worker under the name of one that computes."""
    client, work, judge = bed.client(), bed.work, bed.judge
    work.sleepers(client, 150, 0.05)
    bed.wait_for_start(["worker-1"])
    pid = bed.pid_of("worker-1")
    client.note("duplicate", "worker-1")
    began = time.monotonic()
    second = bed.start_worker("worker-1")
    refused = bed.wait_for(h.REFUSED, worker="worker-1")
    bed.wait_until(lambda: second.poll() is not None, N_("it did not leave within {seconds:g} s"))
    judge.count(N_("exit code {n}"), second.returncode, exit_codes.REFUSED)
    bed.finish_work()
    bed.expect_no_loss()
    first = bed.events(h.JOINED, worker="worker-1")
    judge.unless_slow(
        N_("the first one worked on, the same process"),
        len(first) == 1 and bed.pid_of("worker-1") == pid == first[0].detail["pid"],
        bed.silencing_s,
    )
    judge.detected(refused.at - began)
