"""The mirror against a real server: what it writes, and the faults that the broker does not notice."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from labkit.core.broker.snapshot import Snapshot
from labkit.mirror.server import url_of
from labkit.mirror.writer import LATEST_S, LONG_QUEUE, SOON_S, Mirror
from tests.tools.redis_server import RedisServer, free_port, running_redis
from tests.tools.waiting import wait_until

needs_sigstop = pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="this system cannot freeze a process"
)


def snapshot(workers: int, pending: tuple[str, ...] = ()) -> Snapshot:
    return Snapshot(
        workers=tuple(
            {
                "id": f"worker-{number}",
                "capabilities": ["blur"],
                "last_heartbeat_age_s": 0.1,
                "status": "ready",
                "tasks_completed": 0,
                "in_flight": 0,
                "slots": 1,
                "epoch": "00",
                "pid": 1,
            }
            for number in range(1, workers + 1)
        ),
        pending=pending,
    )


def ids(start: int, stop: int) -> tuple[str, ...]:
    return tuple(f"{number:032x}" for number in range(start, stop))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as running:
        yield running


@contextmanager
def mirroring(url: str, prefix: str = "") -> Iterator[Mirror]:
    mirror = Mirror(url, prefix)
    mirror.start()
    try:
        yield mirror
    finally:
        mirror.close()
        # The thread may outlast close() by one socket timeout; do not leave it to the next test.
        wait_until(lambda: not mirror._thread.is_alive(), what="the mirror's thread to end")


@pytest.fixture
def mirror(server: RedisServer) -> Iterator[Mirror]:
    with mirroring(server.url) as running:
        yield running


def reader(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True, encoding_errors="replace", protocol=2)


def shows(client: Any, wanted: Snapshot, prefix: str = "") -> Callable[[], bool]:
    """Return a predicate: Redis shows exactly these workers and this queue."""
    names = {worker["id"] for worker in wanted.workers}
    return lambda: (
        set(client.hkeys(prefix + "workers")) == names
        and client.lrange(prefix + "image_tasks", 0, -1) == list(wanted.pending)
    )


def state_is(mirror: Mirror, state: str) -> Callable[[], bool]:
    return lambda: mirror.health.state == state


# --- what it shows ---


def test_registry_and_queue_are_shown_as_the_course_reads_them(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client:
        mirror.offer(snapshot(3, ids(0, 4)))
        wait_until(shows(client, snapshot(3, ids(0, 4))))
        assert client.llen("image_tasks") == 4
        shown = json.loads(str(client.hget("workers", "worker-2")))
        assert (shown["status"], shown["state"]) == ("active", "ready")
        wait_until(state_is(mirror, "ok"))


def test_a_waiting_task_can_be_read_and_keeps_its_text_while_the_queue_moves(
    mirror: Mirror, server: RedisServer
) -> None:
    now = time.monotonic()
    labels = tuple((id, "labkit.jobs:process_encoded", now - 60.0) for id in ids(0, 6))

    def at(first: int, end: int) -> Snapshot:
        return Snapshot((), tuple(label[0] for label in labels[first:end]), labels[first:end])

    with closing(reader(server)) as client:
        texts: dict[str, str] = {}
        for first, end in ((0, 4), (2, 6), (1, 6)):  # handed out, submitted, and one requeued at the front
            wanted = at(first, end)
            mirror.offer(wanted)

            def is_shown(pending: tuple[str, ...] = wanted.pending) -> bool:
                return [json.loads(text)["id"] for text in client.lrange("image_tasks", 0, -1)] == [*pending]

            wait_until(is_shown)
            for text in map(str, client.lrange("image_tasks", 0, -1)):
                entry = json.loads(text)
                assert texts.setdefault(entry["id"], text) == text
                waits_s = time.time() - datetime.fromisoformat(entry["since"]).timestamp()
                assert entry["job"] == "labkit.jobs:process_encoded" and 59 < waits_s < 90


def test_a_lost_worker_and_a_started_task_disappear(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client:
        for wanted in (snapshot(3, ids(0, 4)), snapshot(2, ids(1, 6)), snapshot(2), snapshot(0)):
            mirror.offer(wanted)
            wait_until(shows(client, wanted))


def test_a_prefix_keeps_two_clusters_apart(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client, mirroring(server.url, prefix="second:") as second:
        mirror.offer(snapshot(1, ids(0, 1)))
        second.offer(snapshot(2, ids(5, 7)))
        wait_until(shows(client, snapshot(1, ids(0, 1))))
        wait_until(shows(client, snapshot(2, ids(5, 7)), prefix="second:"))


def test_a_long_queue_that_moved_on_is_sent_as_a_difference(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client:
        mirror.offer(snapshot(1, ids(0, 20_000)))
        wait_until(shows(client, snapshot(1, ids(0, 20_000))))
        before = client.info("commandstats")["cmdstat_rpush"]["calls"]
        mirror.offer(snapshot(1, ids(500, 20_100)))
        wait_until(shows(client, snapshot(1, ids(500, 20_100))))
        assert client.info("commandstats")["cmdstat_rpush"]["calls"] == before + 1


def test_close_writes_the_last_offer(server: RedisServer) -> None:
    with closing(reader(server)) as client:
        with mirroring(server.url) as mirror:
            mirror.offer(snapshot(3, ids(0, 4)))
            wait_until(state_is(mirror, "ok"))
            mirror.offer(Snapshot())
        assert client.keys() == []
        assert mirror.health.state == "closed"


# --- what is done to Redis ---


def test_after_a_flush_redis_is_complete_without_the_broker(mirror: Mirror, server: RedisServer) -> None:
    wanted = snapshot(3, ids(0, 2_500))
    with closing(reader(server)) as client:
        mirror.offer(wanted)
        wait_until(shows(client, wanted))
        client.flushall()
        wait_until(shows(client, wanted), 2.0)  # promised within 1 s, on a machine that has the time


@pytest.mark.parametrize(
    "edit",
    [
        lambda client: client.set("workers", "mine"),
        lambda client: client.set("image_tasks", "mine"),
        lambda client: client.hset("workers", "stranger", "{}"),
        lambda client: client.delete("workers"),
        lambda client: (client.lpush("image_tasks", b"\xff"), client.rpop("image_tasks")),
    ],
    ids=[
        "string at workers",
        "string at image_tasks",
        "extra worker",
        "no workers",
        "same length, other ids",
    ],
)
def test_foreign_edits_of_the_keys_are_put_right(
    mirror: Mirror, server: RedisServer, edit: Callable[[Any], object]
) -> None:
    wanted = snapshot(2, ids(0, 5))
    with closing(reader(server)) as client:
        mirror.offer(wanted)
        wait_until(shows(client, wanted))
        edit(client)
        wait_until(lambda: client.type("workers") == "hash" and client.type("image_tasks") == "list")
        wait_until(shows(client, wanted))
        assert mirror.health.state == "ok"


def test_a_foreign_redis_with_other_types_at_the_keys_is_taken_over(
    mirror: Mirror, server: RedisServer
) -> None:
    with closing(reader(server)) as client:
        client.rpush("workers", "not a hash")
        client.hset("image_tasks", "not", "a list")
        mirror.offer(snapshot(1, ids(0, 3)))
        wait_until(state_is(mirror, "ok"))
        assert shows(client, snapshot(1, ids(0, 3)))()


def test_redis_killed_and_restarted_is_filled_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="labkit.mirror")
    port = free_port()
    with mirroring(url_of(port)) as mirror:
        with running_redis(tmp_path / "redis", port) as server:
            mirror.offer(snapshot(3, ids(0, 10)))
            wait_until(state_is(mirror, "ok"))
            server.process.kill()
            wait_until(state_is(mirror, "unreachable"))
            mirror.offer(snapshot(2, ids(2, 10)))
        with running_redis(tmp_path / "redis", port) as server, closing(reader(server)) as client:
            wait_until(shows(client, snapshot(2, ids(2, 10))), 2.0)
            wait_until(state_is(mirror, "ok"))
    # One line for each change, however often it tried.
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]


@needs_sigstop
def test_while_redis_is_frozen_offers_go_on_and_the_last_one_wins(
    mirror: Mirror, server: RedisServer
) -> None:
    with closing(reader(server)) as client:
        mirror.offer(snapshot(3, ids(0, 100)))
        wait_until(shows(client, snapshot(3, ids(0, 100))))
        os.kill(server.pid, signal.SIGSTOP)
        try:
            # The server stays frozen until this loop ends: an offer that waited for it would never return.
            for start in range(1_000):
                mirror.offer(snapshot(2, ids(start, start + 50)))
            wait_until(state_is(mirror, "unreachable"))
            mirror.offer(snapshot(1, ids(7, 9)))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait_until(state_is(mirror, "ok"))
        wait_until(shows(client, snapshot(1, ids(7, 9))))


@needs_sigstop
def test_close_does_not_wait_for_a_frozen_redis(mirror: Mirror, server: RedisServer) -> None:
    mirror.offer(snapshot(1))
    wait_until(state_is(mirror, "ok"))
    os.kill(server.pid, signal.SIGSTOP)
    mirror.offer(snapshot(2))
    mirror.close()  # the server stays frozen
    assert mirror.health.state == "closed"


def test_a_wrong_password_is_reported_and_a_right_one_heals_it(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(reader(server)) as client:
        client.config_set("requirepass", "another")
        with mirroring(f"redis://:secret@127.0.0.1:{server.port}/0") as mirror:
            mirror.offer(snapshot(1))
            wait_until(state_is(mirror, "denied"))
            client.config_set("requirepass", "secret")
            wait_until(state_is(mirror, "ok"))
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_a_missing_password_is_reported(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client:
        client.config_set("requirepass", "secret")
        mirror.offer(snapshot(1))
        wait_until(state_is(mirror, "denied"))


def test_a_read_only_redis_is_reported_until_it_takes_writes(mirror: Mirror, server: RedisServer) -> None:
    with closing(reader(server)) as client:
        client.replicaof("127.0.0.1", str(free_port()))  # a replica is read-only
        mirror.offer(snapshot(1))
        wait_until(state_is(mirror, "unusable"))
        client.replicaof("no", "one")
        wait_until(shows(client, snapshot(1)))
        wait_until(state_is(mirror, "ok"))


# --- no Redis at all ---


@contextmanager
def stranger(reply: bytes) -> Iterator[int]:
    """Yield the port of a server that answers everything with ``reply`` and hangs up; b"" keeps silent."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            held: list[socket.socket] = []
            while not ending.is_set():
                try:
                    peer, _address = listening.accept()
                except TimeoutError:
                    continue
                if reply:
                    with peer:
                        peer.sendall(reply)
                else:
                    held.append(peer)
            for peer in held:
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            ending.set()
            thread.join()


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unusable"),
        (b"$what\r\n", "unusable"),
        (b"", "unreachable"),
    ],
    ids=["a web server", "garbage", "silence"],
)
def test_a_server_that_is_no_redis_is_reported_without_harm(
    reply: bytes, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    with stranger(reply) as port, mirroring(url_of(port)) as mirror:
        mirror.offer(snapshot(1))
        wait_until(state_is(mirror, state))
        mirror.offer(snapshot(2))
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://:secret@127.0.0.1:port", ""])
def test_an_invalid_url_is_reported_without_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with mirroring(url) as mirror:
        mirror.offer(snapshot(1))
        wait_until(state_is(mirror, "unusable"))
        assert "secret" not in str(mirror.health)
    assert "secret" not in caplog.text


def test_a_bug_in_the_mirror_is_logged_with_its_traceback(
    mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.offer(Snapshot(workers=({"id": "worker-1"},)))  # type: ignore[typeddict-item]
    wait_until(state_is(mirror, "broken"))
    wait_until(lambda: "KeyError" in caplog.text, what="the traceback in the log")
    mirror.offer(snapshot(1))
    wait_until(state_is(mirror, "ok"))


# --- when a snapshot is wanted ---


def test_changes_are_due_soon_and_long_queues_rarely(mirror: Mirror) -> None:
    assert mirror.wants(0.0)
    mirror.offer(snapshot(1, ids(0, 3)))
    wait_until(state_is(mirror, "ok"))
    assert SOON_S <= mirror.due_at(changed=True) < LATEST_S
    assert mirror.due_at(changed=False) == LATEST_S
    mirror.offer(snapshot(1, ids(0, LONG_QUEUE + 1)))
    assert mirror.due_at(changed=True) == LATEST_S
