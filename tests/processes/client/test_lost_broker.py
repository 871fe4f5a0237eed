"""A client whose broker goes away, comes back, or is another one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.client.futures import Batch
from labkit.core.errors import (
    AccessDenied,
    BrokerUnreachable,
    ClusterReplaced,
)
from tests.tools.rig import Rig, ThreadBroker
from tests.tools.waiting import wait_until


def test_a_client_without_its_broker_raises_and_recovers_later(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        rig.kill(rig.broker)
        with pytest.raises(BrokerUnreachable):
            client.status(timeout_s=0.2)
        future = client.submit(jobs.echo, "patience")
        assert not future.done()
        rig.start_broker()
        assert future.result(15) == "patience"
        wait_until(lambda: client.status()["clients"] == 2, what="the rig's own client, too")


def test_a_question_without_its_asker_is_not_repeated_for_ever(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        client = rig.client()
        rig.kill(rig.broker)
        for _ in range(3):
            with pytest.raises(BrokerUnreachable):
                client.status(timeout_s=0.05)
        wait_until(lambda: not client._session._questions, what="the questions to be forgotten")
        rig.start_broker()
        assert client.status(timeout_s=10)["workers"] == []
        assert client._session._questions == {}


def test_closing_wakes_a_thread_that_waits_for_an_answer() -> None:
    broker = ThreadBroker()
    with broker:
        client = Client(broker.address("client"), broker.credentials)
    heard: list[Exception] = []

    def ask() -> None:
        try:
            client.status(timeout_s=60.0)
        except BrokerUnreachable as error:
            heard.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: client._answers, what="the question")
    client.close()
    asking.join(20.0)
    assert [str(error) for error in heard] == ["this client is closed; open a new one"]


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_client_whose_broker_was_replaced_raises(tmp_path: Path, in_batch: bool) -> None:
    """Another cluster's broker has the address: no call may wait an hour for tasks that it does not have."""
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client(broker_gone_s=0.5, dead_s=0.3, suspect_s=0.2, heartbeat_s=0.1)
        future = client.submit(jobs.hang)
        batch = Batch(client)
        if in_batch:
            batch.submit([client.prepare(jobs.echo, (1,), {})])
        wait_until(future.running, 10, "it to start")
        rig.kill(rig.broker)
        rig.token_file.write_text("another secret")
        rig.start_broker()
        error = future.exception(20)
        assert isinstance(error, ClusterReplaced) and not error.definite
        assert future.task_id in str(error) and rig.address in str(error)
        if in_batch:
            with pytest.raises(ClusterReplaced):
                list(batch.results())
        with pytest.raises(AccessDenied):
            client.submit(jobs.echo, 1)


def test_a_client_tolerates_a_strange_broker_for_a_while(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client(dead_s=0.3, suspect_s=0.2, heartbeat_s=0.1)
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        wait_until(future.running, 10, "it to start")
        rig.kill(rig.broker)
        rig.token_file.write_text("another secret")
        rig.start_broker()
        wait_until(lambda: client._io_loop._denied_since is not None, 10, "a first refusal")
        rig.kill(rig.broker)
        rig.token_file.write_text(rig.token)
        rig.start_broker()
        gate.touch()
        wait_until(lambda: rig.revive() or future.done(), 20, "its result")  # the worker has left meanwhile
        assert isinstance(future.result(0), int)
