"""Cases: the broker is killed, frozen, or finds its address in use."""

from __future__ import annotations

import time
from typing import Any

from labkit.cluster.processes import python
from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.protocol import exit_codes
from labkit.executors import ClusterExecutor, open_executor
from labkit.faults.case import case
from labkit.faults.test_bed import TestBed
from labkit.jobs import process_image

DEATHS = 3
BIG_TASKS = 24
FREEZE_S = 5.0


@case(
    "broker-killed",
    fault=N_("kill -9 of the broker, three times, under load with pictures of 6 MB; started again each time"),
    promise=N_("all are back within 3 s of the new bind; the same tasks are submitted again; nothing lost"),
)
def broker_killed(bed: TestBed) -> None:
    """Kill the broker each time a task of 6 MB has started; the tasks come from an executor."""
    import numpy as np

    from labkit.imaging.filters import apply_steps, parse_steps

    work, judge = bed.work, bed.judge
    image: Any = np.random.default_rng(6).integers(0, 256, (1000, 2000, 3), np.uint8)
    steps = parse_steps(["sharpen"])
    expected = apply_steps(image, steps)
    began = time.monotonic()
    with open_executor("cluster", cluster=bed.cluster) as executor:
        assert isinstance(executor, ClusterExecutor)
        big = {
            work.add(executor.submit(process_image, image, steps), expected).task_id for _ in range(BIG_TASKS)
        }
        work.sleepers(bed.client(), 150, 0.02)
        for _ in range(DEATHS):
            bed.wait_for_start(among=big)
            bed.cluster.kill("broker")
            bed.cluster.start("broker")
            bed.wait_until_ready()
        bed.finish_work()
    again = [event.at for event in bed.events(h.BROKER_STARTED)][1:]
    judge.count(N_("{n} of {wanted} brokers took over"), len(again), DEATHS)
    back = [
        {event.worker: event.at - bound_at for event in reversed(bed.events(h.JOINED, since=bound_at))}
        for bound_at in again
    ]
    judge.count(N_("{n} of {wanted} times a worker was back"), sum(map(len, back)), 3 * DEATHS)
    slowest_s = max(after_s for each in back for after_s in each.values())
    judge.within(N_("within {seconds} of the bind"), slowest_s, 3.0, began)
    submitted = [event.task for event in bed.events(h.SUBMITTED)]
    judge.true(
        N_("{n} submissions were repeated under their own ids"),
        len(submitted) > len(set(submitted)),
        n=len(submitted) - len(set(submitted)),
    )
    for recovery in bed.history.recoveries():
        if recovery.target == "broker":
            judge.detected(recovery.detection_s)
            judge.recovered(recovery.recovery_s)
    judge.within(N_("all in {seconds}"), time.monotonic() - began, 60.0, began)


@case(
    "broker-frozen",
    fault=N_("SIGSTOP of the broker for 5 s, under load"),
    promise=N_("no worker is wrongly given up; it goes on where it stood"),
)
def broker_frozen(bed: TestBed) -> None:
    """Freeze the broker for five seconds when tasks have started."""
    work, judge = bed.work, bed.judge
    client = bed.client()
    work.sleepers(client, 100, 0.05)
    bed.wait_for_start()
    bed.cluster.pause("broker")
    time.sleep(FREEZE_S)  # the fault itself
    woken_at = bed.cluster.resume("broker")
    first = bed.wait_for(h.DONE, since=woken_at)
    judge.within(N_("the next result {seconds} after it woke"), first.at - woken_at, 1.0, woken_at)
    judge.recovered(first.at - woken_at)
    bed.finish_work()
    bed.expect_no_loss()
    oversleeps = client.status()["counters"].get("oversleeps", 0)
    judge.true(N_("it noticed that it had slept"), oversleeps >= 1)


@case(
    "second-broker",
    fault=N_("a second broker on the same address"),
    promise=N_("it refuses to start, with exit code 73 and one line that names the port"),
    workers=1,
)
def second_broker(bed: TestBed) -> None:
    """Start another broker on this cluster's ports while it works."""
    work, judge, ports = bed.work, bed.judge, bed.cluster.ports
    work.sleepers(bed.client(), 60, 0.02)
    bed.wait_for_start()
    began = time.monotonic()
    second = bed.spawn(
        "second-broker",
        python("labkit", "broker"),
        {
            **{f"LABKIT_{kind.upper()}_PORT": str(ports[kind]) for kind in ("client", "worker", "event")},
            "LABKIT_TOKEN_FILE": str(bed.token_file),
            "LABKIT_LANG": "en",
        },
    )
    bed.wait_until(lambda: second.poll() is not None, N_("it still ran after {seconds:g} s"))
    judge.detected(time.monotonic() - began)
    judge.count(N_("exit code {n}"), second.returncode, exit_codes.PORT_IN_USE)
    lines = bed.printed("second-broker").splitlines()
    judge.true(N_("one line that names the port"), len(lines) == 1 and str(ports["client"]) in lines[0])
    bed.finish_work()
    judge.count(N_("{n} broker all along"), len(bed.events(h.BROKER_STARTED)), 1)
    bed.expect_no_loss()
