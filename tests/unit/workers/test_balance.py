"""The balance in a worker's log: a line for each second of work, none while the worker is idle."""

from __future__ import annotations

import logging
import sys
import types

import numpy as np
import pytest

from labkit.imaging.filters import apply_steps, parse_steps
from workers.balance import Balance


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "labkit.worker"]


@pytest.fixture(autouse=True)
def shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "labkit.worker")


def test_idle_worker_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-1")
    for tenth in range(600):
        balance.look(0, 0, 0, tenth / 10)
    balance.end(0, 0, 61.0)
    assert said(caplog) == []


def test_each_second_of_work_has_one_line_however_many_tasks_it_had(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-1")
    for tenth in range(30):
        balance.look(1000 * tenth, 0, 1, tenth / 10)
    for tenth in range(30, 100):
        balance.look(30_000, 0, 0, tenth / 10)
    assert said(caplog) == [
        "worker-1: 10000 done in 1.0 s, 10000 in all",
        "worker-1: 10000 done in 1.0 s, 20000 in all",
        "worker-1: 10000 done in 1.0 s, 30000 in all",
    ]


def test_work_that_begins_again_has_lines_again(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-1")
    for second, done in enumerate((1, 2, 2, 2, 2, 5, 5)):
        balance.look(done, 0, 0, float(second))
    lines = said(caplog)
    assert [line.split(":")[1].split(" done")[0] for line in lines] == [" 2", " 3"]


def test_long_task_is_work_although_nothing_is_done(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-1")
    for half in range(7):
        balance.look(0, 0, 1, half / 2)
    assert said(caplog) == ["worker-1: 0 done in 1.0 s, 0 in all"] * 3


def test_filters_and_failures_of_the_second_are_named(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-2")
    balance.look(0, 0, 1, 0.0)
    for _ in range(3):
        apply_steps(np.zeros((8, 8, 3), np.uint8), parse_steps(["sharpen", "edges"]))
    balance.look(3, 1, 0, 1.0)
    assert said(caplog) == ["worker-2: 3 done in 1.0 s, 3 in all; 1 failed (edges 3, sharpen 3)"]


def test_filters_that_another_thread_is_importing_end_no_worker(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    balance = Balance("worker-1")
    balance.look(0, 0, 1, 0.0)
    half = types.ModuleType("labkit.imaging.filters")  # Python has begun to import it
    monkeypatch.setitem(sys.modules, "labkit.imaging.filters", half)
    balance.look(0, 0, 1, 1.0)
    assert said(caplog) == ["worker-1: 0 done in 1.0 s, 0 in all"]


def test_last_part_of_a_second_is_written_when_the_worker_leaves(caplog: pytest.LogCaptureFixture) -> None:
    balance = Balance("worker-1")
    balance.look(0, 0, 1, 10.0)
    balance.end(1, 0, 10.5)
    assert said(caplog) == ["worker-1: 1 done in 0.5 s, 1 in all"]
