"""Cases: the network between a worker and its broker is cut, reset, or slow; results come late.

Each case has a worker of its own, ``worker-far``, that reaches the broker through `labkit.faults.network`.
"""

from __future__ import annotations

import time

from labkit.client.client import Client
from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Event
from labkit.faults.case import case
from labkit.faults.network import Network
from labkit.faults.test_bed import TestBed
from labkit.jobs import echo, sleep_for

FAR = "worker-far"
RESETS = 4
"""One more than the crashes that make a task poison."""
SLOW_BYTES_PER_S = 8e6
BIG = 20 << 20


def with_far_worker(bed: TestBed, bytes_per_s: float | None = None) -> Network:
    """Start the worker behind a network and return the network when it has joined."""
    network = bed.network(bytes_per_s)
    bed.start_worker(FAR, network)
    bed.wait_for(h.JOINED, worker=FAR)
    return network


def cut_off(bed: TestBed, client: Client, network: Network) -> tuple[float, Event]:
    """Cut the worker off; return the instant, and the event of its loss."""
    client.note("partition", FAR)
    cut_at = time.monotonic()
    network.cut()
    lost = bed.wait_for(h.LOST, worker=FAR, since=cut_at)
    bed.judge.detected(lost.at - cut_at)
    return cut_at, lost


def heal(client: Client, network: Network) -> float:
    """Heal the worker's network; return the instant."""
    client.note("heal", FAR)
    healed_at = time.monotonic()
    network.heal()
    return healed_at


@case(
    "partition",
    fault=N_("the network to a computing worker is cut silently; it is repaired when all is done"),
    promise=N_("given up within 2.5 s; its late result is dropped; back as a new worker 3 s after it heals"),
    workers=2,
)
def partition(bed: TestBed) -> None:
    """Cut off a worker that has started a task; heal the network when the others have done all work."""
    network = with_far_worker(bed)
    client, work, judge = bed.client(), bed.work, bed.judge
    work.sleepers(client, 120, 0.05)
    _worker, struck = bed.wait_for_start([FAR])
    cut_at, lost = cut_off(bed, client, network)
    judge.within(N_("given up after {seconds}"), lost.at - cut_at, 2.5, cut_at)
    bed.wait_for_progress(len(work.futures))
    healed_at = heal(client, network)
    joined = bed.wait_for(h.JOINED, worker=FAR, since=healed_at)
    judge.within(N_("back {seconds} after the healing"), joined.at - healed_at, 3.0, healed_at)
    late = bed.events(h.DUPLICATE, worker=FAR)
    judge.true(N_("{n} late results were dropped"), late, n=len(late))
    work.sleepers(client, 30, 0.02)
    bed.finish_work()
    row = next(row for row in bed.history.ledger() if row.task == struck)
    judge.true(N_("its task was done by {worker}"), row.winner not in ("", FAR), worker=row.winner)
    for recovery in bed.history.recoveries():
        if recovery.fault == "partition":
            judge.recovered(recovery.recovery_s)


@case(
    "late-result",
    fault=N_("a worker's result arrives after it was given up, and no other worker has done the task"),
    promise=N_("the first valid result counts, however late; it is not computed again"),
    workers=0,
)
def late_result(bed: TestBed) -> None:
    """Cut off the only worker while it computes; heal the network when it has been given up."""
    network = with_far_worker(bed)
    client, work, judge = bed.client(), bed.work, bed.judge
    task = work.submit(client, sleep_for, 1.0, expected=1.0)
    bed.wait_for_start(future=task)
    cut_at, _lost = cut_off(bed, client, network)
    bed.wait_for(h.REQUEUED, task=task.task_id)
    healed_at = heal(client, network)
    bed.finish_work()
    row = next(row for row in bed.history.ledger() if row.task == task.task_id)
    judge.count_unless_slow(N_("done as attempt {n}"), row.winning_attempt, 1, bed.silencing_s)
    judge.count_unless_slow(N_("sent to a worker {n} time"), row.attempts, 1, bed.silencing_s)
    done = bed.events(h.DONE, task=task.task_id)[0]
    judge.within(N_("{seconds} after the healing"), done.at - healed_at, 3.0, healed_at)
    judge.recovered(done.at - cut_at)


@case(
    "connection-reset",
    fault=N_("the connection of the only worker is reset four times, while it computes one task"),
    promise=N_("back within 3 s each time; it had not crashed, so the task is not blamed, and gets done"),
    workers=0,
)
def connection_reset(bed: TestBed) -> None:
    """Reset a worker's connection more often than a task may crash workers."""
    network = with_far_worker(bed)
    client, work, judge = bed.client(), bed.work, bed.judge
    task = work.submit(client, sleep_for, 0.5, expected=0.5)
    began = time.monotonic()
    back: list[float] = []
    for _ in range(RESETS):
        bed.wait_for_start(future=task)
        client.note("reset", FAR)
        reset_at = time.monotonic()
        network.reset()
        lost = bed.wait_for(h.LOST, worker=FAR, since=reset_at)
        judge.detected(lost.at - reset_at)
        back.append(bed.wait_for(h.JOINED, worker=FAR, since=lost.at).at - reset_at)
    judge.within(N_("back after {seconds}"), max(back), 3.0, began)
    bed.finish_work()
    attempts = len(bed.events(h.DISPATCHED, task=task.task_id))
    judge.count_unless_slow(N_("{n} attempts"), attempts, RESETS + 1, bed.silencing_s)
    for recovery in bed.history.recoveries():
        judge.recovered(recovery.recovery_s)


@case(
    "slow-link",
    fault=N_("20 MB there and back on a link of 8 MB/s, with the heartbeats behind them"),
    promise=N_("the broker waits for the worker: one that has announced bulk may be silent for longer"),
    workers=0,
)
def slow_link(bed: TestBed) -> None:
    """Send a large task to a worker on a slow link, with small ones behind it."""
    with_far_worker(bed, SLOW_BYTES_PER_S)
    client, work, judge = bed.client(), bed.work, bed.judge
    data = bytes(BIG)
    big = work.submit(client, echo, data, expected=data)
    work.sleepers(client, 10, 0.01)
    bed.finish_work()
    bed.expect_no_loss()
    dispatched, done = (bed.events(kind, task=big.task_id)[0] for kind in (h.DISPATCHED, h.DONE))
    silent_s = 2 * BIG / SLOW_BYTES_PER_S
    judge.true(
        N_("there and back took {t:.1f} s"),
        done.at - dispatched.at >= 0.8 * silent_s,
        t=done.at - dispatched.at,
    )
