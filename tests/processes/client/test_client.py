"""A client with a real broker: what connects, what can be submitted, and whose results are whose."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import sys
import threading
from concurrent.futures import as_completed
from typing import Any

import psutil
import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.core.errors import (
    AccessDenied,
    BrokerUnreachable,
    CannotTravel,
    InvalidInput,
)
from labkit.security.credentials import Token
from labkit.transport.event_stream import EventStream
from tests.tools.rig import HOST, Rig, ThreadBroker, results
from tests.tools.waiting import require, wait_until

timing = pytest.mark.xdist_group("timing")

# --- coming in ----------------------------------------------------------------------------------------------


@timing
def test_a_wrong_secret_is_a_named_error_within_three_seconds(rig: Rig) -> None:
    hold = threading.Event()
    threading.Timer(3.0, hold.set).start()
    with pytest.raises(AccessDenied, match="does not accept this secret"):
        Client(rig.address, Token(secrets.token_hex(32)))
    assert not hold.is_set()


def test_a_client_at_the_workers_port_is_refused(rig: Rig) -> None:
    with pytest.raises(AccessDenied):
        Client(rig.worker_address, rig.credentials)


def client_threads() -> int:
    return sum(thread.name == "labkit-client" and thread.is_alive() for thread in threading.enumerate())


def test_connecting_without_a_broker_is_an_error_with_advice() -> None:
    before = client_threads()
    with socket.create_server((HOST, 0)) as taken:
        address = f"tcp://{HOST}:{taken.getsockname()[1]}"
    with pytest.raises(BrokerUnreachable, match=r"within 0\.2 s.*python -m labkit up") as caught:
        Client(address, Token(secrets.token_hex(32)), connect_timeout_s=0.2)
    assert not caught.value.definite
    assert client_threads() == before


def test_ctrl_c_while_connecting_leaves_no_client_behind() -> None:
    require(sys.platform != "win32", "a signal to oneself")
    before = client_threads()

    def interrupt() -> None:
        wait_until(lambda: client_threads() > before, what="the client's thread to run")
        os.kill(os.getpid(), signal.SIGINT)

    with socket.create_server((HOST, 0)) as taken:
        address = f"tcp://{HOST}:{taken.getsockname()[1]}"
    interrupting = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupting.start()
        Client(address, Token(secrets.token_hex(32)), connect_timeout_s=60.0)
    interrupting.join()
    assert client_threads() == before


def test_another_server_is_not_taken_for_a_broker() -> None:
    with socket.create_server((HOST, 0)) as other:
        address = f"tcp://{HOST}:{other.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable):
            Client(address, Token(secrets.token_hex(32)), connect_timeout_s=0.3)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:99999", "tcp://127.0.0.1", "127.0.0.1:5555", ""])
def test_a_malformed_address_is_an_error_at_once(address: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        Client(address, Token("token"))
    with pytest.raises(InvalidInput, match="address"):
        EventStream(address, Token("token"))


def test_clients_leave_no_descriptor_behind(rig: Rig) -> None:
    def once() -> None:
        rig.client().close()
        with pytest.raises(BrokerUnreachable):
            Client(f"tcp://{HOST}:1", Token("token"), connect_timeout_s=0.01)
        with pytest.raises(AccessDenied):
            Client(rig.address, Token("wrong"))

    once()
    before = psutil.Process().num_fds()
    for _ in range(5):
        once()
    assert psutil.Process().num_fds() <= before + 2


# --- what cannot be submitted -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deadline_s", "lease_s"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e300, "1", [1]])
def test_an_invalid_time_fails_at_submit_and_harms_nothing(client: Client, name: str, value: Any) -> None:
    """Each of these once killed the I/O thread, and with it every other task of this client."""
    times: dict[str, Any] = {name: value}
    with pytest.raises(InvalidInput, match=f"{name}="):
        client.submit(jobs.echo, 1, **times)
    assert client.submit(jobs.echo, 2).result(10) == 2


def test_a_time_may_be_any_kind_of_number(client: Client) -> None:
    import numpy as np

    odd: Any = np.float32(9)
    assert client.submit(jobs.echo, 1, deadline_s=odd, lease_s=7).result(10) == 1
    assert client.submit(jobs.echo, 1, deadline_s=1e9, lease_s=1e9).result(10) == 1


def test_a_microscopic_lease_does_not_cost_the_worker(rig: Rig, client: Client) -> None:
    worker = rig.workers["worker-1"]
    assert client.submit(jobs.sleep_for, 0.02, lease_s=1e-9).result(10) == 0.02
    assert client.submit("work:pid").result(10) == worker.pid


@pytest.mark.parametrize("job", ["labkit.jobs:\udcff", "no colon", "", "x" * 70_000, "labkit.jobs:é"])
def test_an_odd_function_name_fails_only_that_task(client: Client, job: str) -> None:
    try:
        assert client.submit(job).exception(10) is not None
    except CannotTravel:
        pass  # just as well
    assert client.submit(jobs.echo, 2).result(10) == 2


def test_a_note_that_cannot_be_encoded_fails_in_the_caller(client: Client) -> None:
    odd: Any = 7
    with pytest.raises(AttributeError):
        client.note("kill", odd)
    client.note("k\udcff", "é" * 70_000)
    assert client.status()["clients"] >= 1


def test_an_argument_that_cannot_travel_fails_at_submit(client: Client) -> None:
    with pytest.raises(CannotTravel):
        client.submit(lambda: 1)
    with pytest.raises(CannotTravel):
        client.submit(jobs.echo, object())
    assert client.open_tasks == 0


# --- several at once ----------------------------------------------------------------------------------------


def test_several_clients_of_one_process_do_not_interfere() -> None:
    with ThreadBroker() as broker:
        clients = [Client(broker.address("client"), broker.credentials) for _ in range(5)]
        wait_until(lambda: len(broker.scheduler.clients) == 5, what="five clients")
        for client in clients:
            client.close()
        wait_until(lambda: len(broker.scheduler.clients) == 0, what="their farewells")


def test_results_in_any_order_reach_their_own_calls(client: Client) -> None:
    futures: dict[Any, int] = {client.submit(jobs.echo, number): number for number in range(1000)}
    assert all(future.result() == futures[future] for future in as_completed(futures, 20))
    assert results(futures) == list(range(1000))
