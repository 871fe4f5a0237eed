"""``cancel`` never waits, whatever the broker does, and then the future has no other outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from labkit import jobs
from labkit.client.client import Client
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "rig", workers=1) as rig:
        yield rig


def freeze(rig: Rig) -> None:
    rig.freeze(rig.broker)


def kill(rig: Rig) -> None:
    rig.kill(rig.broker)


@pytest.mark.parametrize("harm", [freeze, kill])
def test_three_cancellations_without_a_broker_do_not_stop_an_asyncio_loop(
    rig: Rig, harm: Callable[[Rig], None]
) -> None:
    client = rig.client()
    running = client.submit(jobs.sleep_for, 0.5)
    wait_until(running.running, what="the first to run")
    futures = [client.submit(jobs.sleep_for, 0.0) for _ in range(3)]
    harm(rig)

    async def give_up() -> float:
        """Return the longest time between two steps of the loop."""
        longest, looked = 0.0, time.monotonic()

        async def watch() -> None:
            nonlocal longest, looked
            while True:
                await asyncio.sleep(0.01)
                longest, looked = max(longest, time.monotonic() - looked), time.monotonic()

        watching = asyncio.ensure_future(watch())
        wrapped = [asyncio.wrap_future(future) for future in futures]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrapped[0], 0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wrapped[1]
        wrapped[2].cancel()
        async with asyncio.timeout(5.0):
            while not futures[2].cancelled():
                await asyncio.sleep(0.01)
        watching.cancel()
        return longest

    assert asyncio.run(give_up()) < 2.5, "an answer of the broker would have taken 5 s each"
    assert all(future.cancelled() for future in futures)
    assert not wait(futures, 5).not_done
    if harm is freeze:
        rig.thaw(rig.broker)
        assert running.result(20) == 0.5
        for future in futures:
            rig.wait_for_event("cancelled", task=future.task_id)
        assert client.submit(jobs.echo, 1).result(20) == 1
    client.close()


def test_a_cancelled_task_has_no_other_outcome_when_the_broker_returns(rig: Rig) -> None:
    client = rig.client()
    running = client.submit(jobs.sleep_for, 0.3)
    wait_until(running.running, what="the first to run")
    future = client.submit(jobs.sleep_for, 0.0)
    rig.kill(rig.broker)
    assert future.cancel() and future.cancelled() and future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    assert not running.cancel(), "it is known to have started"
    rig.start_broker()
    assert running.result(30) == 0.3
    assert client.submit(jobs.echo, "on").result(30) == "on"
    assert future.cancelled() and client.open_tasks == 0
    client.close()


def test_shutdown_may_cancel_without_waiting_for_a_frozen_broker(rig: Rig) -> None:
    client = rig.client()
    running = client.submit(jobs.sleep_for, 0.5)
    wait_until(running.running, what="the first to run")
    futures = [client.submit(jobs.echo, number) for number in range(5)]
    rig.freeze(rig.broker)
    client.cancel_all()
    assert all(future.cancelled() for future in futures) and not running.done()
    rig.thaw(rig.broker)
    assert running.result(20) == 0.5
    client.close()


def test_threads_that_cancel_and_a_worker_that_starts_agree_on_each_future(rig: Rig) -> None:
    client = rig.client()
    futures = [client.submit(jobs.sleep_for, 0.002) for _ in range(300)]
    answers = [future.cancel() for future in reversed(futures)]
    assert not wait(futures, 30).not_done
    for future, cancelled in zip(reversed(futures), answers, strict=True):
        assert future.cancelled() == cancelled
        assert cancelled or future.result(0) == 0.002
    assert isinstance(client, Client) and client.open_tasks == 0
    client.close()
