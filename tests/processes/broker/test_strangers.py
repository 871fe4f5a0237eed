"""No peer without the secret is admitted, and no message brings the broker down."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit import jobs
from labkit.calls import serialization
from labkit.client.client import Client
from labkit.client.futures import Batch
from labkit.core.errors import BrokerUnreachable, ResultUnreadable
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.transport.handshake_monitor import HandshakeMonitor
from tests.tools.rig import HOST, Peer, Rig, ThreadBroker, bare_peer, results
from tests.tools.waiting import wait_until
from tests.tools.zmtp import GREETING, PLAIN, RAW, hello

MB = 1 << 20
timing = pytest.mark.xdist_group("timing")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One broker for all attacks of this module: it must survive them."""
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=2, max_message_bytes=8 * MB) as rig:
        pids = {rig.broker.pid if rig.broker else 0, *(worker.pid for worker in rig.workers.values())}
        yield rig
        assert rig.broker is not None and rig.broker.poll() is None
        assert {row["pid"] for row in rig.status()["workers"] if row["id"] in rig.workers} < pids
        assert "Traceback" not in rig.log("broker")


@pytest.fixture
def friend(rig: Rig) -> Iterator[Client]:
    """Another client; its tasks return during the test and afterwards."""
    friend = rig.client("friend")
    before = [friend.submit(jobs.sleep_for, 0.001) for _ in range(50)]
    yield friend
    after = [friend.submit(jobs.echo, number) for number in range(50)]
    assert results(before) == [0.001] * 50 and results(after) == list(range(50))
    friend.close()


@pytest.fixture
def peer(rig: Rig) -> Iterator[Callable[[str], Peer]]:
    """Return a function that makes a bare socket with the secret, for a role."""
    context: zmq.Context[Any] = zmq.Context()
    opened: list[zmq.Socket[bytes]] = []
    addresses = {"client": rig.address, "worker": rig.worker_address}
    yield lambda role: bare_peer(context, opened, addresses[role], role, rig.credentials)
    for each in opened:
        each.close(linger=0)
    context.term()


def tcp(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=5)


def throw(port: int, data: bytes) -> None:
    """Connect, send bytes, and leave."""
    with contextlib.suppress(ConnectionError), tcp(port) as connection:
        connection.sendall(data)


# --- without the secret -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
def test_bytes_without_the_secret_have_no_effect(rig: Rig, friend: Client, data: bytes) -> None:
    before = rig.status()
    for port in rig.ports["client"], rig.ports["worker"], rig.ports["event"]:
        for _ in range(3):
            throw(port, data)
    assert friend.submit(jobs.echo, "me").result(10) == "me"
    after = rig.status()
    assert {**after["counters"], "oversleeps": 0} == {**before["counters"], "oversleeps": 0}
    assert (living(rig), after["clients"]) == (set(rig.workers), before["clients"])


def test_thousands_of_random_connections_have_no_effect(rig: Rig, friend: Client) -> None:
    chance = random.Random(7)
    ports = [rig.ports[name] for name in ("client", "worker", "event")]
    for number in range(1500):
        start = chance.choice([b"", b"", GREETING, PLAIN, PLAIN + b"\x04"])
        throw(ports[number % 3], start + chance.randbytes(chance.randrange(200)))
    assert friend.submit(jobs.echo, "me").result(10) == "me"
    newcomer = rig.client("newcomer")
    assert newcomer.submit(jobs.echo, "me too").result(10) == "me too"


def test_guessing_the_secret_many_times_locks_no_peer_out(rig: Rig, friend: Client) -> None:
    for number in range(300):
        throw(rig.ports["client"], PLAIN + hello(b"client", b"%064x" % number))
    assert rig.client("newcomer").submit(jobs.echo, 1).result(10) == 1


def test_silent_connections_lock_no_peer_out_and_are_closed(rig: Rig, friend: Client) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(tcp(rig.ports["client"])) for _ in range(300)]
        for number, connection in enumerate(silent):
            connection.sendall(PLAIN[: number % 64])
        assert rig.client("newcomer").submit(jobs.echo, 1).result(10) == 1
        silent[0].settimeout(6)
        heard = b""
        with contextlib.suppress(ConnectionError):
            while part := silent[0].recv(1000):  # the broker's greeting, then its disconnect
                heard += part
        assert len(heard) <= 64


@pytest.mark.parametrize("role", ["client", "worker", "stranger"])
@pytest.mark.parametrize("door", ["client", "worker", "event"])
def test_each_port_admits_only_its_own_role_with_the_secret(rig: Rig, role: str, door: str) -> None:
    address = f"tcp://{HOST}:{rig.ports[door]}"
    fits = role == ("worker" if door == "worker" else "client")
    with zmq.Context() as context:
        for token in (rig.token, secrets.token_hex(32), rig.token[:-1], rig.token + "0", "0"):
            with context.socket(zmq.SUB if door == "event" else zmq.DEALER) as visitor:
                visitor.plain_username, visitor.plain_password = role.encode(), token.encode()
                handshakes = HandshakeMonitor(visitor)
                visitor.connect(address)
                assert handshakes.socket.poll(3000), "no answer within three seconds"
                assert handshakes.read() == (not fits or token != rig.token)
                handshakes.close()


def test_a_dead_authenticator_admits_no_peer() -> None:
    with ThreadBroker() as broker:
        broker.broker.authenticator.stop()
        with pytest.raises(BrokerUnreachable):
            Client(broker.address("client"), broker.credentials, connect_timeout_s=0.3)
        assert len(broker.scheduler.clients) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_an_address_that_others_can_reach_is_refused(tmp_path: Path, rig: Rig, host: str) -> None:
    environment = {**rig.broker_environment(), "LABKIT_HOST": host, "LABKIT_FOLDER": str(tmp_path)}
    refused = rig.spawn(f"open-{host.replace(':', '_')}", ["labkit", "broker"], environment)
    assert refused.wait(15) not in (0, 73)
    (line,) = rig.log(f"open-{host.replace(':', '_')}").splitlines()
    assert host in line and "127.0.0.1" in line


# --- with the secret, but nonsense --------------------------------------------------------------------------

RECORD = struct.Struct("!BHI")
NONSENSE: dict[str, list[bytes]] = {
    "an empty frame": [b""],
    "two empty frames": [b"", b""],
    "half a magic": [b"L"],
    "another version": [b"L\x02" + bytes(20)],
    "text": [b"GET / HTTP/1.1"],
    "JSON in depth": [b"[" * 100_000],
    "half a record": [wire.MAGIC + b"\x10\0"],
    "an unknown kind": [wire.MAGIC + RECORD.pack(0xEE, 0, 0)],
    "a length of 4 GB": [wire.MAGIC + RECORD.pack(0x11, 0, 0xFFFFFFFF)],
    "frames that are not there": [wire.MAGIC + RECORD.pack(0x11, 0xFFFF, 0)],
    "frames for a heartbeat": [wire.MAGIC + RECORD.pack(0x01, 1, 0), b"frame"],
    "unannounced frames": [next(wire.envelopes([m.Heartbeat()]))[0], b"frame", b"another"],
    "a string longer than its record": [wire.MAGIC + RECORD.pack(0x10, 0, 18) + bytes(16) + b"\xff\xff"],
    "no UTF-8": [wire.MAGIC + RECORD.pack(0x10, 0, 20) + bytes(16) + b"\x00\x02\xff\xfe"],
    "a broker's message": [next(wire.envelopes([m.Stale()]))[0]],
    "ten thousand heartbeats": [wire.MAGIC + RECORD.pack(0x01, 0, 0) * 10_000],
    "many tiny frames": [wire.MAGIC] + [b"x"] * 2000,
    "a frame too many": [wire.MAGIC + RECORD.pack(0x11, 65, 0)] + [b"x"] * 65,
    "more than a message may hold": [b"x" * (5 * MB), b"y" * (5 * MB)],
}


@pytest.mark.parametrize("role", ["client", "worker"])
@pytest.mark.parametrize("frames", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_dropped_and_counted(
    rig: Rig, friend: Client, peer: Callable[[str], Peer], role: str, frames: list[bytes]
) -> None:
    def counted() -> int:
        counters = rig.counters()
        return counters.get("garbage_messages", 0) + counters.get("oversized_messages", 0)

    before = counted()
    stranger = peer(role)
    for _ in range(3):
        stranger.throw(frames)
    wait_until(lambda: counted() >= before + 3, what="three counted messages")
    if role == "client":  # and the connection is not held against it
        stranger.send(m.ClientHello(os.urandom(16), "stranger"))
        stranger.hear(m.ClientWelcome)
        stranger.send(m.ClientGoodbye())


def test_an_oversized_frame_costs_only_the_senders_connection(
    rig: Rig, friend: Client, peer: Callable[[str], Peer]
) -> None:
    memory = psutil.Process(rig.broker.pid).memory_info if rig.broker else None
    assert memory is not None
    before = memory().rss
    stranger = peer("client")
    for _ in range(5):
        stranger.throw([wire.MAGIC, bytes(20 * MB)])
    assert friend.submit(jobs.echo, "me").result(10) == "me"
    assert memory().rss - before < 60 * MB


@pytest.mark.parametrize(
    "frames", [(bytes(MB // 2),) * 3, (b"x",) * 65], ids=["too large in sum", "too many frames"]
)
def test_an_oversized_message_is_dropped_even_if_well_formed(frames: tuple[bytes, ...]) -> None:
    with ThreadBroker(max_message_bytes=MB) as broker:
        stranger, counters = broker.peer("client"), broker.scheduler.counters
        stranger.send(m.ClientHello(os.urandom(16), "stranger"))
        stranger.hear(m.ClientWelcome)
        stranger.send(m.Submit(os.urandom(16), 20.0, 20.0, "labkit.jobs:echo", "", m.Payload(b"", frames)))
        wait_until(lambda: counters["oversized_messages"] == 1, 5, "it to be counted")
        assert not broker.scheduler.tasks and not counters["garbage_messages"]
        stranger.send(m.Submit(task := os.urandom(16), 20.0, 20.0, "labkit.jobs:echo", "", m.EMPTY))
        assert stranger.hear(m.Accepted).tasks == task, "the connection is not held against it"


def living(rig: Rig) -> set[str]:
    return {row["id"] for row in rig.status()["workers"] if row["status"] in ("ready", "busy", "suspect")}


def random_message(chance: random.Random) -> list[bytes]:
    """Return a message of this protocol with an error in it; most are nearly right."""
    kind = chance.choice(wire.KINDS)
    body = chance.randbytes(kind.layout.size)
    if kind.strings and chance.random() < 0.8:
        lengths = [chance.choice([0, 0, 1, 5]) for _ in range(kind.strings)]
        body = body[: kind.layout.size - 2 * kind.strings]
        body += struct.pack(f"!{kind.strings}H", *lengths) + b"abcde"[: sum(lengths)]
    body += chance.choice([b"", b"", b"tail" * 5])
    frames = [chance.randbytes(5) for _ in range(chance.choice([0, 0, 0, 1, 3]))]
    owned = chance.choice([0, len(frames), len(frames), 7])
    record = RECORD.pack(kind.number, owned, chance.choice([len(body), len(body), len(body) + 1])) + body
    envelope = wire.MAGIC + record * chance.choice([1, 1, 2])
    if chance.random() < 0.2:
        at = chance.randrange(len(envelope))
        envelope = envelope[:at] + chance.randbytes(1) + envelope[at + 1 :]
    return [envelope, *frames]


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_nearly_right_messages_have_no_effect(
    rig: Rig, friend: Client, peer: Callable[[str], Peer], seed: int
) -> None:
    chance = random.Random(seed)
    clients, workers = [peer("client") for _ in range(2)], [peer("worker") for _ in range(2)]
    for number, client in enumerate(clients):
        client.send(m.ClientHello(bytes([number]) * 16, "odd"))
    for number, worker in enumerate(workers):
        # It announces a capability that no task needs, so that it gets no task.
        worker.send(m.WorkerHello(bytes([number]) * 8, b"e" * 8, 1, 7, f"odd-{seed}-{number}", "nothing"))
        worker.send(m.Leaving())
    for _ in range(1500):
        chance.choice(clients + workers).throw(random_message(chance))
    for client in clients:
        client.send(m.ClientHello(os.urandom(16), "odd"), m.Query(1))
        client.hear(m.Info, 10)  # all that it had said was read
        client.send(m.ClientGoodbye())
    for stranger in clients + workers:
        stranger.close()
    wait_until(lambda: living(rig) == set(rig.workers), 10, "the broker to know its own from the odd")


texts = st.text(max_size=30)
times = st.floats(width=32)
ids = st.sampled_from([bytes([n]) * 16 for n in range(3)])
frames_ = st.lists(st.binary(max_size=30), max_size=3).map(tuple)
payloads = st.builds(m.Payload, st.binary(max_size=30), frames_)
counts = st.integers(0, 2**32 - 1)
from_client = st.one_of(
    st.builds(m.ClientHello, ids, texts),
    st.builds(m.Submit, ids, st.floats(), times, texts, texts, payloads),
    st.builds(m.Cancel, ids),
    st.builds(m.Note, counts, texts, texts),
    st.builds(m.Query, counts),
    st.builds(m.Bulk, st.integers(0, 2**64 - 1)),
    st.just(m.ClientGoodbye()),
)
from_worker = st.one_of(
    st.builds(
        m.WorkerHello, st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8),
        st.integers(0, 2**16 - 1), counts, st.sampled_from(["", "a", "b", "\0", "w\n"]), texts,
    ),
    st.builds(m.Started, ids, st.integers(0, 3), st.integers(0, 255)),
    st.builds(m.Done, ids, st.integers(0, 3), times, payloads),
    st.builds(m.WorkerError, ids, st.integers(0, 3), times, texts, texts, payloads),
    st.builds(m.Returned, ids, st.integers(0, 3)),
    st.builds(m.Bulk, st.integers(0, 2**64 - 1)),
    st.just(m.Leaving()),
    st.just(m.WorkerGoodbye()),
)  # fmt: skip


anything = st.one_of(st.tuples(st.just("client"), from_client), st.tuples(st.just("worker"), from_worker))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(anything, max_size=30))
def test_well_formed_messages_without_sense_have_no_effect(
    live: ThreadBroker, said: list[tuple[str, Any]]
) -> None:
    """Every field of every message at its limits, in any order, from peers without a proper hello."""
    peers = {"client": live.peer("client"), "worker": live.peer("worker")}
    for role, message in said:
        peers[role].send(message)
    asking = live.peer("client")
    asking.send(m.ClientHello(os.urandom(16), "friend"), m.Query(7))
    asking.hear(m.Info)
    asking.send(m.ClientGoodbye())
    for each in (*peers.values(), asking):
        each.close()
    assert live.thread.is_alive()


@pytest.fixture(scope="module")
def live() -> Iterator[ThreadBroker]:
    with ThreadBroker(max_queued_tasks=50, client_gone_s=1.0) as broker:
        yield broker
        wait_until(lambda: not broker.scheduler.clients and not broker.scheduler.tasks, 20, "an empty broker")
        assert broker.scheduler.clients.open_bytes == 0


@pytest.mark.parametrize(
    "arguments",
    [
        m.Payload(b"\xc1"),
        m.Payload(b"\x93\xa1x\x90\x80", (b"extra",)),
        m.Payload(b"\x91" * 3000 + b"\x90"),
        m.Payload(b"\xdd\xff\xff\xff\xff"),
        m.Payload(
            serialization.encode_call("labkit.jobs:echo", [np.zeros(20_000, np.uint8)], {}).body, (b"short",)
        ),
    ],
    ids=["no MessagePack", "a frame too many", "deep", "a list of 4 billion", "a frame too short"],
)
def test_malformed_arguments_fail_only_that_task(
    rig: Rig, friend: Client, peer: Callable[[str], Peer], arguments: m.Payload
) -> None:
    stranger, task = peer("client"), os.urandom(16)
    stranger.send(m.ClientHello(os.urandom(16), "stranger"))
    stranger.send(m.Submit(task, 20.0, 20.0, "labkit.jobs:echo", "", arguments))
    failed: Any = stranger.hear(m.Failed, 10)
    assert (failed.task, failed.code) == (task, "ERROR") and failed.error.startswith("ProtocolError")
    stranger.send(m.ClientGoodbye())


def test_a_foreign_task_id_is_refused_and_its_task_unharmed(
    rig: Rig, friend: Client, peer: Callable[[str], Peer], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = rig.blocked(friend, gate)
    stranger = peer("client")
    stranger.send(m.ClientHello(os.urandom(16), "stranger"))
    stranger.send(m.Submit(future.task, 20.0, 20.0, "labkit.jobs:crash", "", m.EMPTY), m.Cancel(future.task))
    assert stranger.hear(m.Refused).tasks == future.task
    assert stranger.hear(m.CancelReply) == m.CancelReply(future.task, 0)
    stranger.send(m.ClientGoodbye())
    gate.touch()
    assert future.result(10) > 0


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_malformed_result_names_its_worker(in_batch: bool) -> None:
    with ThreadBroker() as broker, Client(broker.address("client"), broker.credentials) as client:
        worker = broker.peer("worker")
        worker.send(m.WorkerHello(os.urandom(8), os.urandom(8), 1, 7, "confused", ""))
        worker.hear(m.WorkerWelcome)
        batch = Batch(client)
        call = client.prepare(jobs.echo, (1,), {})
        future = None if in_batch else client.submit_prepared([call])[0]
        if in_batch:
            batch.submit([call])
        task: Any = worker.hear(m.Task)
        worker.send(m.Done(task.task, task.attempt, 0.1, m.Payload(b"\xc1")))
        with pytest.raises(ResultUnreadable) as error:
            next(iter(batch.results())) if future is None else future.result(10)
        assert all(word in str(error.value) for word in (call.task.hex(), "confused", "attempt 1"))
        assert not error.value.definite


# --- who does not read --------------------------------------------------------------------------------------


@timing
@pytest.mark.slow
def test_a_client_that_never_reads_costs_bounded_memory(tmp_path: Path) -> None:
    """It submits as fast as its quota allows, and never reads a result."""
    with Rig(tmp_path / "rig", workers=2) as rig, zmq.Context() as context:
        friend = rig.client("friend")
        assert rig.broker is not None
        memory = psutil.Process(rig.broker.pid).memory_info
        before = most = memory().rss
        deaf = bare_peer(context, [], rig.address, "client", rig.credentials)
        deaf.socket.rcvhwm = 1
        deaf.send(m.ClientHello(os.urandom(16), "deaf"))
        call = serialization.encode_call("work:big", [4 * MB], {})
        for _ in range(300):  # 1.2 GB of results
            deaf.send(m.Submit(os.urandom(16), 60.0, 30.0, "work:big", "", call))
        rig.wait_for_event("submitted")

        def over() -> bool:
            nonlocal most
            most = max(most, memory().rss)
            assert friend.submit(jobs.echo, "me").result(5) == "me"
            ended = rig.history().counts()
            return ended.get("done", 0) + ended.get("cancelled", 0) > 300 and rig.status()["queued"] == 0

        wait_until(over, 60, "the deaf client's tasks to end")
        assert rig.counters()["overflowing_peers"] >= 1
        assert most - before < 400 * MB, f"{(most - before) >> 20} MB"
        deaf.close()


def test_a_client_that_reads_late_gets_everything_in_order(rig: Rig, peer: Callable[[str], Peer]) -> None:
    """More waits for it than libzmq may hold, but less than makes it count as gone."""
    late = peer("client")
    late.send(m.ClientHello(os.urandom(16), "late"))
    call = serialization.encode_call("work:big", [4 * MB], {})
    tasks = [os.urandom(16) for _ in range(40)]
    for task in tasks:
        late.send(m.Submit(task, 60.0, 30.0, "work:big", "", call))
    for task in tasks:
        rig.wait_for_event("done", task=task.hex(), timeout_s=30)
    heard: list[Any] = [late.hear(m.Result, 20) for _ in tasks]
    assert {result.task for result in heard} == set(tasks)
    assert all(result.payload.size > 4 * MB for result in heard)
    done = [event.task for event in rig.events("done") if bytes.fromhex(event.task) in set(tasks)]
    assert [result.task.hex() for result in heard] == done
    late.send(m.ClientGoodbye())


@timing
def test_a_flood_of_large_tasks_costs_bounded_memory(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", max_client_bytes=16 * MB) as rig:
        assert rig.broker is not None
        memory = psutil.Process(rig.broker.pid).memory_info
        before = most = memory().rss
        with zmq.Context() as context:
            flood = bare_peer(context, [], rig.address, "client", rig.credentials)
            flood.send(m.ClientHello(os.urandom(16), "flood"))
            large = m.Payload(b"", (bytes(4 * MB),))
            for _ in range(200):
                flood.send(m.Submit(os.urandom(16), 60.0, 30.0, "labkit.jobs:echo", "", large))

            def refused() -> bool:
                nonlocal most
                most = max(most, memory().rss)
                return rig.counters().get("refused_tasks", 0) >= 190

            wait_until(refused, 30, "the refusals")
            flood.close()
        assert most - before < 250 * MB, f"{(most - before) >> 20} MB"
        assert rig.status()["open_bytes"] <= 16 * MB
