"""Cancelling with a real broker: what has not started can be cancelled, and there is one winner."""

from __future__ import annotations

import threading
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.client.client import Client
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until


def test_a_waiting_task_can_be_cancelled(rig: Rig, client: Client, gate: Path) -> None:
    running = rig.blocked(client, gate)
    marks = gate.with_name("marks")
    waiting = [client.submit("work:mark", str(marks)) for _ in range(20)]
    assert [future.cancel() for future in waiting] == [True] * 20
    assert all(future.cancelled() and future.done() for future in waiting)
    with pytest.raises(CancelledError):
        waiting[0].result(0)
    assert waiting[0].cancel(), "once more is no harm"
    gate.touch()
    running.result(10)
    assert client.submit(jobs.echo, 1).result(10) == 1
    ran = marks.read_text().count("\n") if marks.exists() else 0
    assert ran <= 1, "the one waiting at the worker may have begun before the cancellation arrived"
    rig.check_outcomes([running, *waiting])


def test_a_running_or_finished_task_cannot_be_cancelled(rig: Rig, client: Client, gate: Path) -> None:
    running = rig.blocked(client, gate)
    wait_until(running.running, what="the future to be running")
    assert not running.cancel() and not running.cancelled()
    gate.touch()
    assert running.result(10) > 0 and not running.cancel()


def test_cancelling_wakes_waiting_threads(rig: Rig, client: Client, gate: Path) -> None:
    rig.blocked(client, gate)
    futures = [client.submit(jobs.echo, number) for number in range(5)]
    told: list[Future[Any]] = []
    for future in futures:
        future.add_done_callback(told.append)
    threading.Timer(0.05, lambda: client.cancel_many(futures)).start()
    assert wait(futures, 10, ALL_COMPLETED).not_done == set()
    assert all(future.cancelled() for future in futures)
    wait_until(lambda: len(told) == 5, what="the callbacks")


def test_each_race_of_cancelling_and_computing_has_one_winner(rig: Rig, client: Client) -> None:
    futures = [client.submit(jobs.echo, number) for number in range(500)]
    cancelled = client.cancel_many(futures[::2])
    wait_until(lambda: all(future.done() for future in futures), 20, "all outcomes")
    assert [future.cancelled() for future in futures[::2]] == cancelled
    for number, future in enumerate(futures):
        assert future.cancelled() or future.result(0) == number
    rig.check_outcomes(futures)
