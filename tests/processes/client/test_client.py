"""A client with a real broker: every future ends once, whatever its user does or forgets."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, as_completed, wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.client.futures import Batch, TaskFuture
from labkit.core.errors import (
    AccessDenied,
    BrokerUnreachable,
    CannotTravel,
    ClientGone,
    ClusterReplaced,
    InvalidInput,
)
from labkit.security.credentials import Token
from labkit.transport.event_stream import EventStream
from tests.tools.rig import HOST, ROOT, Rig, ThreadBroker, results
from tests.tools.waiting import require, wait_until

timing = pytest.mark.xdist_group("timing")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One worker, so that a second task waits. No test of this module kills it."""
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=1, client_gone_s=0.5) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Iterator[Client]:
    client = rig.client()
    yield client
    client.close()
    wait_until(lambda: rig.status()["queued"] == rig.status()["assigned"] == 0, what="an empty broker")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a file that ``work:wait_for`` waits for; it exists after the test at the latest."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


def blocked(rig: Rig, client: Client, gate: Path) -> TaskFuture:
    """Return a task that keeps the only worker busy until ``gate`` exists."""
    future = client.submit("work:wait_for", str(gate))
    rig.wait_for_event("started", task=future.task_id)
    return future


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


# --- cancelling ---------------------------------------------------------------------------------------------


def test_a_waiting_task_can_be_cancelled(rig: Rig, client: Client, gate: Path) -> None:
    running = blocked(rig, client, gate)
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
    running = blocked(rig, client, gate)
    wait_until(running.running, what="the future to be running")
    assert not running.cancel() and not running.cancelled()
    gate.touch()
    assert running.result(10) > 0 and not running.cancel()


def test_cancelling_wakes_waiting_threads(rig: Rig, client: Client, gate: Path) -> None:
    blocked(rig, client, gate)
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


# --- leaving ------------------------------------------------------------------------------------------------


def test_closing_with_open_tasks_fails_and_cancels_them(rig: Rig, gate: Path) -> None:
    client = rig.client()
    running = blocked(rig, client, gate)
    waiting = [client.submit(jobs.echo, number) for number in range(50)]
    client.close()
    for future in [running, *waiting]:
        assert isinstance(future.exception(0), ClientGone) and future.task_id in str(future.exception(0))
    for future in [running, *waiting]:
        rig.wait_for_event("cancelled", task=future.task_id)
    assert client.open_tasks == 0


def test_closing_can_wait_for_open_tasks(rig: Rig) -> None:
    client = rig.client()
    futures = [client.submit(jobs.sleep_for, 0.001) for _ in range(100)]
    client.close(wait=True)
    assert [future.result(0) for future in futures] == [0.001] * 100


def test_a_closed_client_raises_at_once(rig: Rig) -> None:
    client = rig.client()
    client.close()
    client.close()
    questions: list[Callable[[], Any]] = [
        lambda: client.submit(jobs.echo, 1),
        client.status,
        lambda: client.note("kill", "worker-1"),
    ]
    for ask in questions:
        with pytest.raises(BrokerUnreachable, match="closed"):
            ask()


def test_many_threads_may_close_while_others_submit(rig: Rig) -> None:
    client = rig.client()
    futures: list[Future[Any]] = []

    def submit() -> None:
        try:
            while True:
                futures.append(client.submit(jobs.echo, 1))
        except BrokerUnreachable:
            return

    submitting = [threading.Thread(target=submit) for _ in range(3)]
    closing = [threading.Thread(target=client.close) for _ in range(3)]
    for thread in submitting:
        thread.start()
    wait_until(lambda: len(futures) > 200, what="some tasks")
    for thread in closing:
        thread.start()
    for thread in [*submitting, *closing]:
        thread.join(20)
        assert not thread.is_alive()
    done, not_done = wait(futures, 5)
    assert not not_done
    assert {type(future.exception(0)) for future in done} <= {type(None), ClientGone}


def test_a_callback_may_submit_cancel_and_close(rig: Rig) -> None:
    client = rig.client()
    more: list[Any] = []
    closed = threading.Event()

    def go_on(future: Future[Any]) -> None:
        second = client.submit(jobs.echo, future.result() + 1)
        more.append(second.result(10))
        client.close()
        closed.set()

    client.submit(jobs.echo, 1).add_done_callback(go_on)
    assert closed.wait(10) and more == [2]


def test_a_callback_that_fails_harms_no_other(client: Client) -> None:
    future = client.submit(jobs.echo, 1)
    future.add_done_callback(lambda _: 1 / 0)
    assert [f.result() for f in as_completed([future, client.submit(jobs.echo, 2)], 10)] != []
    assert client.submit(jobs.echo, 3).result(10) == 3


def script(rig: Rig, text: str) -> subprocess.Popen[str]:
    """Return a started program that has a client."""
    program = "from labkit import jobs\nfrom labkit.client.client import Client\n"
    program += "from labkit.security.credentials import Token\n"
    program += f"client = Client({rig.address!r}, Token({rig.token!r}))\n" + textwrap.dedent(text)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_program_without_close_ends_and_cancels_its_tasks(rig: Rig, gate: Path) -> None:
    with script(
        rig,
        f"""
        running = client.submit("work:wait_for", {str(gate)!r})
        waiting = [client.submit(jobs.echo, n) for n in range(10)]
        while not running.running(): pass
        print(*[f.task_id for f in [running, *waiting]])
        """,
    ) as program:
        said, complaints = program.communicate(timeout=20)
    assert (program.returncode, complaints) == (0, "")
    for task in said.split():
        rig.wait_for_event("cancelled", task=task)


def test_tasks_of_a_vanished_client_are_cancelled_after_a_while(rig: Rig, gate: Path) -> None:
    with script(
        rig,
        f"""
        running = client.submit("work:wait_for", {str(gate)!r})
        waiting = [client.submit(jobs.echo, n) for n in range(10)]
        while not running.running(): pass
        print(*[f.task_id for f in [running, *waiting]], flush=True)
        waiting[0].result()
        """,
    ) as program:
        assert program.stdout is not None
        tasks = program.stdout.readline().split()
        assert len(tasks) == 11
        program.kill()
        program.wait(10)
    for task in tasks:
        assert rig.wait_for_event("cancelled", task=task).detail["cause"] == "client gone"
    gate.touch()
    wait_until(lambda: rig.status()["assigned"] == 0, what="the worker to be free")


@timing
@pytest.mark.slow
def test_a_client_that_is_frozen_for_a_while_gets_all_its_results(rig: Rig) -> None:
    require(hasattr(signal, "SIGSTOP"), "a signal that freezes a process")
    with script(
        rig,
        """
        futures = [client.submit(jobs.sleep_for, 0.02) for _ in range(50)]
        print("go", flush=True)
        print(sum(f.result(30) for f in futures))
        """,
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == "go\n"
        program.send_signal(signal.SIGSTOP)
        wait_until(lambda: rig.status()["queued"] == 0, 10, "the broker to give it up (half a second here)")
        program.send_signal(signal.SIGCONT)
        said, complaints = program.communicate(timeout=30)
    assert (round(float(said), 6), complaints) == (1.0, "")


# --- many calls in one batch --------------------------------------------------------------------------------


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
    blocked(rig, client, gate)
    batch = batch_of(client, jobs.echo, range(10))
    with pytest.raises(TimeoutError):
        list(batch.results(time.monotonic() + 0.1))
    assert client.open_tasks == 1


def test_closing_ends_a_batch_with_an_error(rig: Rig, gate: Path) -> None:
    client = rig.client()
    blocked(rig, client, gate)
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


# --- a broker that comes and goes ---------------------------------------------------------------------------


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
