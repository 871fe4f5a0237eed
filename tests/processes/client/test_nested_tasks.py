"""Tasks that submit to their own cluster and wait: done while there is a slot, named at once without one."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from labkit.core.errors import TaskDeadlock, TaskFailed
from tests.tools import nesting
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until

SOON_S = 20.0
"""Long before a lease is over; without the rule it takes two leases."""


@pytest.mark.parametrize("how", ["result", "map", "close", "wait", "as_completed"])
def test_a_task_that_waits_for_a_task_on_the_only_worker_fails_by_name(tmp_path: Path, how: str) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        outer = client.submit("work:nest", rig.address, secret_of(rig), 1, how)
        error = outer.exception(SOON_S)
        assert isinstance(error, TaskDeadlock) and isinstance(error, TaskFailed)
        assert "add workers" in str(error) and "hung" not in str(error)
        assert client.submit("labkit.jobs:add", 1, 2).result(SOON_S) == 3, "the worker is free again"
        assert not rig.events("lost")


def test_two_tasks_that_fill_two_workers_fail_by_name(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        outers = [client.submit("work:nest", rig.address, secret_of(rig)) for _ in range(2)]
        assert all(isinstance(outer.exception(SOON_S), TaskDeadlock) for outer in outers)


def test_a_nested_task_is_done_while_there_is_a_slot(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=3) as rig:
        client = rig.client()
        assert client.submit("work:nest", rig.address, secret_of(rig), 2).result(SOON_S) == 2
        assert [event for event in rig.events("failed") if event.detail["code"] == "DEADLOCK"] == []


def test_a_worker_that_joins_in_time_does_what_is_waited_for(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        outer = rig.client().submit("work:nest", rig.address, secret_of(rig))
        wait_until(lambda: len(rig.events("dispatched")) == 2, 10, "the inner task to wait behind it")
        rig.start_worker("worker-2")
        assert outer.result(SOON_S) == 1


def test_a_wait_that_ends_by_itself_is_no_deadlock(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        outer = rig.client().submit("work:nest", rig.address, secret_of(rig), 1, "short wait")
        assert outer.result(SOON_S) == 1, "it gave up what did not start, and went on"
        assert [event for event in rig.events("failed") if event.detail["code"] == "DEADLOCK"] == []


def test_what_is_done_meanwhile_is_waited_for_no_more(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        outer = rig.client().submit("work:nest", rig.address, secret_of(rig), 1, "as_completed")
        assert outer.result(SOON_S) == 1


def test_a_busy_worker_is_no_deadlock(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        busy = client.submit("work:wait_for", str(gate))
        outer = client.submit("work:nest", rig.address, secret_of(rig))
        wait_until(lambda: len(rig.events("submitted")) == 3, 10, "the inner task")
        submitted = rig.events("submitted")[-1].at
        wait_until(
            lambda: rig.events("suspect") or time.monotonic() > submitted + 6.0, 10, "more than the grace"
        )
        gate.touch()
        assert outer.result(SOON_S) == 1 and busy.result(SOON_S)


OTHER_WAITS = (*nesting.WAITS, "another client", "a pool that submits")


def test_tasks_that_wait_in_any_other_way_fail_by_name_too(tmp_path: Path) -> None:
    """One for each worker: it is a deadlock only if all of them are found to wait."""
    with NestingRig(tmp_path / "rig", workers=len(OTHER_WAITS)) as rig:
        outers = {how: rig.submit("wait_by", how) for how in OTHER_WAITS}
        rig.open_gate(len(outers))
        for how, outer in outers.items():
            error = outer.exception(2 * SOON_S)
            assert isinstance(error, TaskDeadlock) and isinstance(error, TaskFailed), (how, error)
            assert "add workers" in str(error) and "hung" not in str(error)
        assert rig.client().submit("labkit.jobs:add", 1, 2).result(SOON_S) == 3, "the workers are free again"
        assert not rig.events("lost")


def test_in_any_other_way_it_waits_in_vain_only_without_a_slot(tmp_path: Path) -> None:
    with NestingRig(tmp_path / "rig", workers=3) as rig:
        rig.open_gate(0)
        for how in OTHER_WAITS:
            assert rig.submit("wait_by", how).result(SOON_S) in (1, 2), how


def test_a_task_that_submits_and_waits_for_its_own_computing_is_no_deadlock(tmp_path: Path) -> None:
    with NestingRig(tmp_path / "rig", workers=1) as rig:
        outer = rig.submit("go_on_with", "a thread that computes", 5.0)
        rig.open_gate(1)
        assert outer.result(SOON_S) is True
        assert [event for event in rig.events("failed") if event.detail["code"] == "DEADLOCK"] == []


class NestingRig(Rig):
    """A cluster whose workers have ``tests/tools/nesting.py``."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder)
        shutil.copy(nesting.__file__, folder / "work" / "nesting.py")
        for number in range(1, workers + 1):
            self.start_worker(f"worker-{number}")
        self.wait_for_workers(*self.workers)
        self.gate = folder / "gate"

    def __enter__(self) -> NestingRig:
        return self

    def open_gate(self, tasks: int) -> None:
        """Let the jobs submit, once that many have started."""
        wait_until(lambda: len(self.events("started")) == tasks, 30, "all to occupy their slots")
        self.gate.touch()

    def submit(self, job: str, how: str, *more: float) -> Future[Any]:
        """Submit one of the module's jobs, from a client of its own."""
        return self.client().submit(
            f"work.nesting:{job}", how, str(self.gate), self.address, secret_of(self), *more
        )


def secret_of(rig: Rig) -> str:
    secret: str = rig.token_file.read_text().strip()
    return secret
