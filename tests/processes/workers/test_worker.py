"""A worker as a process: frozen, thawed, drained, refused, and with a broker that sends nonsense."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from labkit import jobs
from labkit.broker.authenticator import WORKER_DOMAIN, Authenticator
from labkit.calls import serialization
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.faults.network import Network
from labkit.security.credentials import Token
from tests.tools.rig import HOST, Rig, results
from tests.tools.waiting import wait_until

timing = pytest.mark.xdist_group("timing")


def busy_with(rig: Rig, future: Future[Any]) -> str:
    """Return the name of the worker on which this task has started."""
    return rig.wait_for_event("started", task=future.task_id).worker  # type: ignore[attr-defined]


def epochs(rig: Rig, worker: str) -> list[Any]:
    return [event.detail["epoch"] for event in rig.events("joined", worker)]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


# --- frozen -------------------------------------------------------------------------------------------------


@timing
@pytest.mark.slow
def test_a_frozen_worker_is_lost_and_returns_as_a_new_one(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        frozen = busy_with(rig, future)
        client.note("pause", frozen)
        rig.freeze(rig.workers[frozen])
        lost = rig.wait_for_event("lost", frozen)
        (fault,) = rig.events("fault")
        assert lost.detail["cause"] == "silent" and lost.at - fault.at < 2.5 + 0.3
        assert kinds(rig.events(worker=frozen))[-3:] == ["suspect", "lost", "requeued"]

        gate.touch()
        other = next(process.pid for name, process in rig.workers.items() if name != frozen)
        assert future.result(10) == other and future.attempt == 2
        client.note("resume", frozen)
        rig.thaw(rig.workers[frozen])
        rejoined = wait_until(lambda: rig.events("joined", frozen)[1:], 10, "it to join again")[0]
        assert rejoined.at - rig.events("fault")[1].at < 3
        assert len(set(epochs(rig, frozen))) == 2, "a worker that comes back is a new worker"
        # Its late result comes if it is done before the worker hears that it is stale; then it is dropped.
        assert all(late.attempt == 1 for late in rig.events("duplicate", frozen))
        assert results([client.submit(jobs.echo, n) for n in range(50)]) == list(range(50))
        rig.check_outcomes([future])


@timing
@pytest.mark.slow
def test_a_worker_that_wakes_with_an_open_task_gives_one_result(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        rig.freeze(rig.workers[busy_with(rig, future)])
        rig.wait_for_event("requeued", task=future.task_id)  # there is no other worker: it waits in the queue
        gate.touch()
        rig.thaw(rig.workers["worker-1"])
        # The first attempt wins if it is done before the worker hears that it is stale; else the second does.
        assert future.result(10) == rig.workers["worker-1"].pid and future.attempt in (1, 2)
        wait_until(lambda: len(epochs(rig, "worker-1")) == 2, what="it to join again")
        assert client.submit(jobs.echo, "on").result(10) == "on"
        rig.check_outcomes([future])


@timing
@pytest.mark.slow
def test_a_worker_that_computes_without_pause_is_never_suspected(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        future = rig.client().submit(jobs.spin, 2.5, lease_s=120)  # of processor time, which others may want
        rig.wait_for_event("done", task=future.task_id, timeout_s=120)
        assert kinds(rig.events(worker="worker-1")) == ["joined", "dispatched", "started", "done"]


def test_a_start_is_announced_at_once_and_not_with_the_next_heartbeat(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        for _ in range(4):  # each in another phase of the heartbeats
            future = client.submit(jobs.sleep_for, 0.4)
            assert future.result(30) == 0.4
            rig.wait_for_event("done", task=future.task_id)
            assert kinds(rig.events(task=future.task_id))[1:] == ["dispatched", "started", "done"]


# --- cut off, or far away -----------------------------------------------------------------------------------


@timing
@pytest.mark.slow
def test_a_worker_that_is_cut_off_is_lost_and_returns_on_healing(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig, Network(rig.ports["worker"]) as network:
        client = rig.client()
        rig.start_worker("far", LABKIT_BROKER=network.address)
        rig.wait_for_workers("far")
        gate = tmp_path / "gate"
        futures = [client.submit("work:wait_for", str(gate)) for _ in range(2)]
        here, there = sorted(futures, key=lambda future: busy_with(rig, future) == "far")
        client.note("partition", "far")
        network.cut()
        lost = rig.wait_for_event("lost", "far")
        (fault,) = rig.events("fault")
        assert lost.detail["cause"] == "silent" and lost.at - fault.at < 2.5 + 0.3
        gate.touch()
        home = rig.workers["worker-1"].pid
        assert results([here, there]) == [home, home] and there.attempt == 2
        network.heal()
        wait_until(lambda: len(set(epochs(rig, "far"))) == 2, 10, "it to join again")
        assert rig.wait_for_event("duplicate", "far", there.task_id).attempt == 1
        rig.check_outcomes(futures)


@timing
@pytest.mark.slow
def test_a_large_result_on_a_slow_link_is_awaited(tmp_path: Path) -> None:
    """It fills the connection for longer than a worker may be silent, and heartbeats queue behind it."""
    # Three seconds of silence; on a busy machine the transfer is slower than configured, so wait for twenty.
    with (
        Rig(tmp_path / "rig", slow_link_bytes_per_s=1e6) as rig,
        Network(rig.ports["worker"], bytes_per_s=7e6) as network,
    ):
        rig.start_worker("far", LABKIT_BROKER=network.address)
        back = rig.client().submit("work:big", 20_000_000).result(30)
        assert len(back) == 20_000_000
        assert rig.events("lost") == []


# --- drained ------------------------------------------------------------------------------------------------


def test_a_stopped_worker_finishes_its_task_and_returns_the_others(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        running = client.submit("work:wait_for", str(gate))
        process = rig.workers[busy_with(rig, running)]
        waiting = [client.submit("work:pid") for _ in range(20)]
        rig.wait_for_event("dispatched", "worker-1", waiting[0].task_id)
        process.send_signal(signal.SIGTERM)
        rig.wait_for_event("requeued", "worker-1", waiting[0].task_id)
        rig.wait_for_event("draining", "worker-1")
        gate.touch()
        assert running.result(10) == process.pid and running.attempt == 1
        assert process.wait(5) == 0
        rig.start_worker("worker-2")
        assert set(results(waiting)) == {rig.workers["worker-2"].pid}
        ends = [event for event in rig.events(worker="worker-1") if event.kind in ("left", "lost")]
        assert kinds(ends) == ["left"]
        assert {event.detail["cause"] for event in rig.events("requeued")} == {"returned"}
        rig.check_outcomes([running, *waiting])


def test_a_task_unfinished_after_draining_is_done_elsewhere(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1, drain_s=0.3) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        process = rig.workers[busy_with(rig, future)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        gate.touch()
        rig.start_worker("worker-2")
        assert future.result(10) == rig.workers["worker-2"].pid
        rig.check_outcomes([future])


def test_stopping_workers_under_load_loses_nothing(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        futures = [client.submit(jobs.sleep_for, 0.001) for _ in range(2000)]
        for name in ("worker-1", "worker-2"):
            wait_until(lambda: any(not future.done() for future in futures), what="a load")
            rig.workers[name].send_signal(signal.SIGTERM)
            assert rig.workers[name].wait(10) == 0
            rig.start_worker(name)
        assert results(futures) == [0.001] * 2000
        assert rig.events("lost") == []
        rig.check_outcomes(futures)


def test_a_workers_log_records_each_time_it_joins(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        rig.client()
        name = f"worker-1 has joined {rig.worker_address}"
        wait_until(lambda: rig.log("worker-1").endswith(f"{name}; serves all filters\n"), 5, "its first line")
        rig.kill(rig.broker)
        rig.start_broker()
        wait_until(lambda: f"{name} again, as a new worker" in rig.log("worker-1"), 10, "its second")


def test_a_workers_log_records_once_that_no_broker_answers(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        rig.client()
        missed = f"worker-1 has had no welcome from the broker at {rig.worker_address}"
        rig.kill(rig.broker)
        wait_until(lambda: missed in rig.log("worker-1"), 20, "its complaint")
        rig.start_broker()
        wait_until(lambda: "again, as a new worker" in rig.log("worker-1"), 10, "its return")
        assert rig.log("worker-1").count(missed) == 1, "said once"


def test_a_worker_without_a_broker_stops_at_once(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.kill(rig.broker)
        worker = rig.start_worker("lonely", WORKER_CAPABILITIES="blur,my_own")
        wait_until(lambda: psutil.Process(worker.pid).num_threads() > 2, 20.0, "it to be up")
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.3)  # it keeps looking for its broker
        assert "WORKER_CAPABILITIES names my_own, but the lab has no such filter" in rig.log("lonely")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0


# --- who may be a worker ------------------------------------------------------------------------------------


@timing
@pytest.mark.slow
def test_a_second_worker_of_a_name_is_refused_the_first_unharmed(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        first = rig.workers[busy_with(rig, future)]
        second = rig.start_worker("worker-1")
        assert second.wait(10) == 75
        assert "another worker is called worker-1" in rig.log("worker-1")
        gate.touch()
        assert future.result(10) == first.pid and future.attempt == 1
        assert first.poll() is None and len(epochs(rig, "worker-1")) == 1
        assert rig.events("refused", "worker-1") and rig.events("lost") == []


def test_a_worker_may_take_the_name_of_a_dead_one(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        rig.kill(rig.workers["worker-1"])
        rig.revive()
        wait_until(lambda: len(epochs(rig, "worker-1")) == 2, what="the new one")
        assert rig.client().submit("work:pid").result(10) == rig.workers["worker-1"].pid


def test_a_worker_with_a_wrong_secret_exits_within_three_seconds(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        (tmp_path / "wrong").write_text(secrets.token_hex(32))
        worker = rig.start_worker("stranger", LABKIT_TOKEN_FILE=str(tmp_path / "wrong"))
        assert worker.wait(3 + 1) == 77  # a second for Python to start
        assert "does not accept this secret" in rig.log("stranger")
        assert rig.status()["workers"] == [] and rig.events("joined") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LABKIT_TOKEN_FILE": ""}, "neither LABKIT_TOKEN_FILE nor LABKIT_KEYS is set"),
        ({"LABKIT_TOKEN_FILE": "/no/such/file"}, "/no/such/file"),
        ({"LABKIT_SLOTS": "many"}, "LABKIT_SLOTS='many'"),
        ({"LABKIT_SLOT": "1"}, "LABKIT_SLOTS"),
    ],
)
def test_wrong_settings_are_an_error_of_one_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with Rig(tmp_path / "rig") as rig:
        worker = rig.start_worker("confused", **settings)
        assert worker.wait(10) == 2
        (line,) = rig.log("confused").splitlines()
        assert said in line


def test_a_worker_computes_as_many_tasks_at_once_as_slots(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.start_worker("wide", LABKIT_SLOTS="3")
        client = rig.client()
        gate = tmp_path / "gate"
        futures = [client.submit("work:wait_for", str(gate)) for _ in range(3)]
        for future in futures:
            rig.wait_for_event("started", task=future.task_id)
        gate.touch()
        assert set(results(futures)) == {rig.workers["wide"].pid}


# --- a result that cannot travel ----------------------------------------------------------------------------


def test_a_result_too_large_is_an_error_and_the_connection_stays(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1, max_message_bytes=1 << 20) as rig:
        client = rig.client()
        fits = client.submit("work:big", 1_000_000)
        error = client.submit("work:big", 1_100_000).exception(10)
        assert len(fits.result(10)) == 1_000_000
        assert isinstance(error, TypeError) and "1048576 bytes can travel" in str(error)
        assert rig.events("lost") == []


@pytest.mark.parametrize("over", [-20, -1, 0, 1, 20, 200])
def test_a_message_of_the_largest_size_arrives_or_is_refused(limited: Rig, over: int) -> None:
    """The size of the header must not decide between a result and silence."""
    client = limited.client()
    size = (1 << 20) + over
    try:
        there = client.submit(jobs.echo, bytes(size))
    except TypeError as error:
        assert "can travel" in str(error)
    else:
        assert len(there.result(10)) == size
    back = client.submit("work:big", size)
    if (error_back := back.exception(10)) is None:
        assert len(back.result()) == size
    else:
        assert "can travel" in str(error_back)
    assert limited.events("lost") == [] and limited.counters().get("oversized_messages", 0) == 0


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("limited") / "rig", workers=1, max_message_bytes=1 << 20) as rig:
        yield rig


# --- a broker that is none ----------------------------------------------------------------------------------


class FakeBroker:
    """A ROUTER that accepts the secret and sends what the test wants; it reads the messages of one worker."""

    def __init__(self, port: int, token: str) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self._authenticator = Authenticator(self.context, Token(token))
        self._authenticator.start()
        self.socket = self.context.socket(zmq.ROUTER)
        self._authenticator.guard(self.socket, WORKER_DOMAIN)
        self.socket.linger = 0
        self.socket.bind(f"tcp://{HOST}:{port}")
        self.route = b""
        self._heard: list[Any] = []

    def __enter__(self) -> FakeBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._authenticator.close()
        self.context.term()

    def hear(self, kind: type, timeout_s: float = 10.0) -> Any:
        """Return the first message of this kind that was not returned yet."""

        def found() -> list[Any]:
            while self.socket.poll(0):
                self.route, envelope, *frames = self.socket.recv_multipart()
                self._heard += wire.decode(envelope, frames, m.FROM_WORKER)
            return [message for message in self._heard if type(message) is kind]

        message = wait_until(found, timeout_s, f"a {kind.__name__}")[0]
        self._heard.remove(message)
        return message

    def send(self, *messages: Any) -> None:
        for envelope, frames in wire.envelopes(messages):
            self.throw(envelope, *frames)

    def throw(self, *frames: bytes) -> None:
        self.socket.send_multipart([self.route, *frames])

    def welcome(self, hello: m.WorkerHello, heartbeat_s: float = 0.5) -> None:
        self.send(m.WorkerWelcome(b"12345678", hello.epoch, heartbeat_s, 12 * heartbeat_s))


def test_nonsense_from_the_broker_is_dropped_and_the_worker_goes_on(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.kill(rig.broker)
        with FakeBroker(rig.ports["worker"], rig.token) as broker:
            worker = rig.start_worker("worker-1")
            broker.welcome(broker.hear(m.WorkerHello))
            for frames in [
                (b"",), (b"L",), (b"L\x02",), (b"GET / HTTP/1.1",), (b"L\x01\xff\0\0\0\0\0\0",),
                (wire.MAGIC + b"\x42\0\0\xff\xff\xff\xff",), (wire.MAGIC, b"frame"),
                (b"x" * 100_000, b"y" * 100_000),
            ]:  # fmt: skip
                broker.throw(*frames)
            broker.send(m.Go(bytes(16), 1), m.Revoke(bytes(16), 7), m.Bulk(1 << 62), m.WorkerRefused("late"))
            broker.send(m.Task(bytes(16), 1, 30.0, 0, m.Payload(b"no call")))
            error = broker.hear(m.WorkerError)
            assert error.error.startswith("ProtocolError")
            broker.hear(m.Heartbeat)
            assert worker.poll() is None


def test_worker_logs_each_welcome_when_it_comes_and_not_with_its_next_heartbeat(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.kill(rig.broker)
        with FakeBroker(rig.ports["worker"], rig.token) as broker:
            rig.start_worker("worker-1")
            broker.welcome(broker.hear(m.WorkerHello), heartbeat_s=60.0)
            wait_until(lambda: "worker-1 has joined tcp://" in rig.log("worker-1"), 10, "the first welcome")
            broker.send(m.Stale())
            broker.welcome(broker.hear(m.WorkerHello), heartbeat_s=60.0)
            wait_until(lambda: "again, as a new worker" in rig.log("worker-1"), 10, "the second welcome")


def test_a_careful_task_is_announced_and_waits_for_go(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.kill(rig.broker)
        with FakeBroker(rig.ports["worker"], rig.token) as broker:
            rig.start_worker("worker-1")
            broker.welcome(broker.hear(m.WorkerHello))
            call = serialization.encode_call("labkit.jobs:echo", [1], {})
            task = m.Task(b"t" * 16, 1, 30.0, 0, call)
            broker.send(task, task._replace(task=b"u" * 16, careful=1), task._replace(task=b"v" * 16))
            assert broker.hear(m.Done).task == b"t" * 16
            assert broker.hear(m.Started) == m.Started(b"u" * 16, 1, 1)
            broker.send(m.Go(b"u" * 16, 2), m.Go(b"v" * 16, 1), m.Go(b"u" * 16, 1))
            assert [broker.hear(m.Done).task for _ in range(2)] == [b"u" * 16, b"v" * 16]


def test_a_broker_that_disconnects_at_once_is_tried_again(tmp_path: Path) -> None:
    """It may have died at that moment, or be behind a proxy. It has not refused the secret."""
    with Rig(tmp_path / "rig") as rig:
        with socket.create_server((HOST, 0)) as listening:
            address = f"tcp://{HOST}:{listening.getsockname()[1]}"
            worker = rig.start_worker("worker-1", LABKIT_BROKER=address)
            listening.settimeout(10)
            for _ in range(4):
                connection, _ = listening.accept()
                connection.close()
            assert worker.poll() is None


def test_a_stale_reply_from_the_broker_causes_a_new_hello(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.kill(rig.broker)
        with FakeBroker(rig.ports["worker"], rig.token) as broker:
            rig.start_worker("worker-1")
            first = broker.hear(m.WorkerHello)
            broker.welcome(first)
            broker.hear(m.Heartbeat)
            broker.send(m.Stale())
            second = broker.hear(m.WorkerHello)
            assert second.epoch != first.epoch and second.instance == first.instance


def test_heartbeats_continue_while_a_task_holds_the_gil(tmp_path: Path) -> None:
    """A task that holds the interpreter's lock for long stretches delays them by milliseconds only."""
    with Rig(tmp_path / "rig", workers=1, heartbeat_s=0.05) as rig:
        future = rig.client().submit(jobs.spin, 0.5)
        ages: list[float] = []

        def watch() -> bool:
            ages.extend(row["last_heartbeat_age_s"] for row in rig.status()["workers"])
            return future.done()

        wait_until(watch, 20, "the result")
        assert max(ages) < 1.0
