"""A user may do anything with one future or callback: the others and the client live on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.calls import serialization
from labkit.client.client import Client
from labkit.client.futures import Batch
from labkit.core.errors import ClientGone, ResultUnreadable
from tests.tools.rig import Rig, results
from tests.tools.waiting import wait_until


def assert_it_lives(client: Client) -> None:
    assert client.submit(jobs.echo, "on").result(10) == "on"
    called = threading.Event()
    client.submit(jobs.echo, 1).add_done_callback(lambda _: called.set())
    assert called.wait(10), "callbacks go on"


def exits(_: Future[Any]) -> None:
    sys.exit("the user's own")


def interrupts(_: Future[Any]) -> None:
    raise KeyboardInterrupt


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even its text")


def is_mute(_: Future[Any]) -> None:
    raise Mute


@pytest.mark.parametrize("callback", [exits, interrupts, is_mute])
def test_a_callback_may_even_exit(client: Client, callback: Callable[[Future[Any]], None]) -> None:
    future = client.submit(jobs.sleep_for, 0.05)
    second = threading.Event()
    future.add_done_callback(callback)
    future.add_done_callback(lambda _: second.set())
    assert second.wait(10), "the other callbacks of that future"
    assert_it_lives(client)


def set_result(future: Future[Any]) -> None:
    future.set_result("the user's")


def set_exception(future: Future[Any]) -> None:
    future.set_exception(KeyError("the user's"))


def cancel_past_us(future: Future[Any]) -> None:
    Future.cancel(future)


def cancel_and_tell(future: Future[Any]) -> None:
    Future.cancel(future)
    future.set_running_or_notify_cancel()


@pytest.mark.parametrize("interfere", [set_result, set_exception, cancel_past_us, cancel_and_tell])
@pytest.mark.parametrize("then", ["an outcome", "a failure", "a start", "a cancellation", "the end"])
def test_a_future_that_its_user_resolves_harms_no_other(
    rig: Rig, gate: Path, interfere: Callable[[Future[Any]], None], then: str
) -> None:
    client = rig.client()
    rig.blocked(client, gate)
    function: Any = jobs.fail if then == "a failure" else jobs.sleep_for
    future = client.submit(function, 0.1)
    others = [client.submit(jobs.echo, number) for number in range(5)]
    interfere(future)
    if then == "a cancellation":
        client.cancel_many([future])
    if then == "the end":
        client.close()
        assert all(isinstance(other.exception(10), ClientGone) for other in others)
    else:
        gate.touch()
        assert results(others) == [*range(5)]
        assert_it_lives(client)
    if interfere is set_result:
        assert future.result(0) == "the user's"
    elif interfere is set_exception:
        assert isinstance(future.exception(0), KeyError)
    else:
        assert future.cancelled()
    client.close()


def test_a_future_that_its_user_marks_as_running_still_gets_its_outcome(
    rig: Rig, client: Client, gate: Path
) -> None:
    rig.blocked(client, gate)
    future = client.submit(jobs.echo, 1)
    future.set_running_or_notify_cancel()
    assert client.cancel_many([future]) == [False]
    gate.touch()
    assert future.result(10) == 1
    assert_it_lives(client)


def test_memory_that_a_result_lacks_fails_only_that_task(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = serialization.decode_value

    def without_memory(*args: Any) -> Any:
        value = decode(*args)
        if value == "large":
            raise MemoryError
        return value

    monkeypatch.setattr(serialization, "decode_value", without_memory)
    error = client.submit(jobs.echo, "large").exception(10)
    assert isinstance(error, ResultUnreadable) and "MemoryError" in str(error)
    batch = Batch(client)
    batch.submit([client.prepare(jobs.echo, ("large",), {})])
    with pytest.raises(ResultUnreadable, match="MemoryError"):
        list(batch.results())
    assert_it_lives(client)


def test_a_callback_that_exits_while_the_client_gives_up_silences_no_other(rig: Rig, gate: Path) -> None:
    client = rig.client()
    futures = [client.submit("work:wait_for", str(gate)) for _ in range(3)]
    heard: list[Future[Any]] = []
    for future in futures:
        future.add_done_callback(exits)
        future.add_done_callback(heard.append)
    client.close()
    assert not wait(futures, 10).not_done
    wait_until(lambda: len(heard) == 3, what="the other callbacks")


def test_a_submit_that_meets_the_end_runs_no_callback_in_the_users_thread(rig: Rig) -> None:
    """An exit() in a callback must not leave the other futures open."""
    client = rig.client()
    client._io_loop.end()
    wait_until(lambda: client._over, what="the end of the loop")
    futures = [client._futures.setdefault(bytes([n]) * 16, _future(client, n)) for n in range(3)]
    heard: list[Future[Any]] = []
    for future in futures:
        future.add_done_callback(exits)
        future.add_done_callback(heard.append)
    client._give_up()
    assert not wait(futures, 10).not_done
    wait_until(lambda: len(heard) == 3, what="the other callbacks")


def _future(client: Client, number: int) -> Any:
    from labkit.client.futures import TaskFuture

    return TaskFuture(client, bytes([number]) * 16)
