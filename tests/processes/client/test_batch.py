"""Many calls in one batch, with a real broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.client.futures import Batch
from labkit.core.errors import (
    ClientGone,
)
from tests.tools.rig import Rig


def batch_of(client: Client, job: Callable[..., Any], arguments: Iterable[Any]) -> Batch:
    batch = Batch(client)
    batch.submit(client.prepare(job, (argument,), {}) for argument in arguments)
    return batch


def test_a_batch_has_its_results_in_the_order_of_its_calls(client: Client) -> None:
    batch = batch_of(client, jobs.sleep_for, [0.02, 0.0, 0.01, 0.0])
    batch.submit([client.prepare(jobs.echo, ("last",), {})])
    assert list(batch.results()) == [0.02, 0.0, 0.01, 0.0, "last"]
    assert client.open_tasks == 0


def test_an_exception_ends_a_batch_and_cancels_the_rest(rig: Rig, client: Client, gate: Path) -> None:
    batch = Batch(client)
    calls = [client.prepare(jobs.echo, (1,), {}), client.prepare(jobs.fail, (), {})]
    later = [client.prepare("work:mark", (str(gate),), {}) for _ in range(200)]
    blocker = client.prepare(jobs.sleep_for, (0.2,), {})
    batch.submit([*calls, blocker, *later])
    results_ = batch.results()
    assert next(results_) == 1
    with pytest.raises(RuntimeError):
        next(results_)
    for call in later:
        rig.wait_for_event("cancelled", task=call.task.hex())
    assert client.open_tasks == 0 and not gate.exists()


def test_a_late_batch_times_out_and_is_cancelled(rig: Rig, client: Client, gate: Path) -> None:
    rig.blocked(client, gate)
    batch = batch_of(client, jobs.echo, range(10))
    with pytest.raises(TimeoutError):
        list(batch.results(time.monotonic() + 0.1))
    assert client.open_tasks == 1


def test_closing_ends_a_batch_with_an_error(rig: Rig, gate: Path) -> None:
    client = rig.client()
    rig.blocked(client, gate)
    batch = batch_of(client, jobs.echo, range(10))
    threading.Timer(0.05, client.close).start()
    with pytest.raises(ClientGone):
        list(batch.results())


def test_a_batch_survives_its_broker(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        batch = batch_of(client, jobs.sleep_for, [0.002] * 200)
        got = batch.results()
        assert [next(got) for _ in range(20)] == [0.002] * 20
        rig.kill(rig.broker)
        rig.start_broker()
        assert list(got) == [0.002] * 180
