"""A client that wants more than its quota slows itself down, or gets BUSY; no other client is slowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit import jobs
from labkit.core.history import Event
from tests.tools.rig import Rig, results
from tests.tools.waiting import wait_until

MB = 1 << 20
QUOTA_BYTES = 16 * MB
TASK_BYTES = 256 << 10
TASKS = 400


@pytest.mark.xdist_group("timing")
def test_a_flood_slows_itself_and_not_others_in_bounded_memory(tmp_path: Path) -> None:
    """100 MB of tasks at once, where 16 MB fit. The test checks the order of events, not seconds."""
    quotas: Any = {"max_client_bytes": QUOTA_BYTES, "max_queued_bytes": 2 * QUOTA_BYTES}
    with Rig(tmp_path / "rig", workers=2, **quotas) as rig:
        assert rig.broker is not None
        memory = psutil.Process(rig.broker.pid).memory_info
        flooding, other = rig.client("flooding"), rig.client("other")
        other.submit(jobs.echo, 0).result(10)
        before = most = memory().rss
        payload = bytes(TASK_BYTES)
        futures = [flooding.submit("work:weigh", payload) for _ in range(TASKS)]
        single = []
        while not all(future.done() for future in futures):
            future = other.submit(jobs.echo, "me too")
            assert future.result(30) == "me too"
            single.append(future.task_id)
            most = max(most, memory().rss)
        assert results(futures) == [TASK_BYTES] * TASKS
        assert most - before < 2 * QUOTA_BYTES + 48 * MB, f"{(most - before) >> 20} MB"

        counters = rig.counters()
        assert len(single) >= 10, "the other client was served while the flood went on"
        wait_until(lambda: len(rig.events("done")) > TASKS + len(single), 10, "the whole history")
        events = rig.history().events
        overtaken = [taken_between(events, task) for task in single]
        assert max(overtaken) <= 4, f"others' tasks dispatched while one waited for its turn: {overtaken}"
        assert not counters.get("refused_tasks"), "it knows its quota, and waits by itself"
        rig.check_outcomes(futures)


def taken_between(events: Sequence[Event], task: str) -> int:
    """Return how many other tasks were dispatched between this one's submission and its dispatch."""
    own = {event.kind: number for number, event in enumerate(events) if event.task == task}
    return sum(event.kind == "dispatched" for event in events[own["submitted"] : own["dispatched"]])


def test_a_client_without_a_quota_gets_busy_and_adapts_its_window(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1, max_queued_tasks=60) as rig:
        client = rig.client("eager")  # its quota is larger than the whole queue
        futures = [client.submit(jobs.spin, 0.001) for _ in range(600)]
        assert len(results(futures, 60)) == 600
        refused = rig.counters()["refused_tasks"]
        assert refused > 0
        told = rig.events("rejected")
        assert told and all(event.task for event in told)
        # Measured: 700. Were it to ask for all that waits in each round, it would be hundreds each 0.1 s.
        assert refused < 4 * 600, f"{refused} refusals"
        rig.check_outcomes(futures)
