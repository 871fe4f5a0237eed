"""The history on disk and on the wire: complete, in order, and explicit about gaps."""

from __future__ import annotations

import errno
import json
import os
import secrets
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from labkit import jobs
from labkit.broker import recorder as recorder_module
from labkit.broker.authenticator import Authenticator
from labkit.broker.recorder import Recorder
from labkit.cluster.history_file import EventFile
from labkit.core.errors import AccessDenied
from labkit.core.history import GAP, Event, History, encode_event
from labkit.security.credentials import Token
from labkit.transport import sockets
from labkit.transport.event_stream import EventStream
from tests.tools.rig import HOST, Rig, results
from tests.tools.waiting import require, wait_until

timing = pytest.mark.xdist_group("timing")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=1) as rig:
        yield rig


@pytest.fixture
def authenticator() -> Iterator[Authenticator]:
    """Yield an authenticator that accepts the secret ``token``."""
    context: zmq.Context[Any] = zmq.Context()
    authenticator = Authenticator(context, Token("token"))
    authenticator.start()
    yield authenticator
    authenticator.close()
    context.destroy(linger=0)  # a test that failed has not closed its sockets


class Publisher:
    """A recorder without a broker, and the address at which it publishes."""

    def __init__(self, authenticator: Authenticator, path: Path | None = None) -> None:
        with zmq.Context() as other, other.socket(zmq.PUB) as probe:
            port = probe.bind_to_random_port(f"tcp://{HOST}", 20000, 29999)
        self.address = f"tcp://{HOST}:{port}"
        self.recorder = Recorder(authenticator, self.address, path)
        self.sent = 0

    def put(self, count: int = 1, kind: str = "done") -> None:
        self.recorder.put([Event(1.0, kind, detail={"n": self.sent + i}) for i in range(count)])
        self.sent += count

    def connect(self, stream: EventStream) -> list[Event]:
        """Publish until the stream receives events; return them."""

        def heard() -> list[Event]:
            self.put()
            return stream.recv(0.02)

        return wait_until(heard, 10, "the subscription")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.recorder.close()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line]


# --- on disk ------------------------------------------------------------------------------------------------


def test_the_file_holds_each_tasks_story_in_order(rig: Rig) -> None:
    client = rig.client()
    futures = [client.submit(jobs.echo, number) for number in range(500)]
    results(futures)
    rig.check_outcomes(futures)
    lines = lines_of(rig.folder / "events.jsonl")
    assert lines[0]["event"] == "broker_started"
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    stories: dict[str, list[str]] = {}
    for line in lines:
        if "task" in line:
            stories.setdefault(line["task"], []).append(line["event"])
    ours = [stories[future.task_id] for future in futures]
    expected = ["submitted", "dispatched", "done"]
    assert all([kind for kind in story if kind != "started"] == expected for story in ours)


def test_events_handed_over_before_the_end_are_in_the_file(
    authenticator: Authenticator, tmp_path: Path
) -> None:
    with Publisher(authenticator, tmp_path / "events") as publisher:
        for _ in range(200):
            publisher.put(50)
    assert [line["n"] for line in lines_of(tmp_path / "events")] == list(range(10_000))


def test_odd_names_and_texts_are_lines_of_ascii(authenticator: Authenticator, tmp_path: Path) -> None:
    detail = {"error": 'é"\\\x00\ud800', "compute_s": float("nan")}
    odd = Event(1.0, "failed", "t", 1, "w\n\u2028\udcff", detail)
    with Publisher(authenticator, tmp_path / "events") as publisher:
        publisher.recorder.put([odd])
    (line,) = lines_of(tmp_path / "events")
    assert (line["worker"], line["error"], line["compute_s"]) == (odd.worker, odd.detail["error"], None)


def test_half_a_line_of_a_killed_broker_costs_only_itself(
    authenticator: Authenticator, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    whole = encode_event(Event(0.5, "submitted", "t"))
    path.write_text(whole + "\n" + whole[:20])
    with Publisher(authenticator, path) as publisher:
        publisher.put()
    assert [event.kind for event in EventFile(path).read()] == ["submitted", GAP, "done"]


def test_a_complete_history_is_continued(authenticator: Authenticator, tmp_path: Path) -> None:
    path = tmp_path / "events"
    for _ in range(2):
        with Publisher(authenticator, path) as publisher:
            publisher.put(2)
    assert len(lines_of(path)) == 4 and "\n\n" not in path.read_text()


class FullDisk:
    """A file that accepts ``room`` bytes, and more after ``room`` is raised."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.written = b""

    def write(self, data: memoryview) -> int:
        taken = bytes(data[: self.room])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.written += taken
        return len(taken)

    def close(self) -> None:
        """Do nothing."""


def test_a_full_disk_is_a_gap_and_stops_nothing(authenticator: Authenticator) -> None:
    disk = FullDisk(room=150)
    with Publisher(authenticator) as publisher, EventStream(publisher.address, Token("token")) as stream:
        recorder: Any = publisher.recorder
        recorder._file = disk
        heard = publisher.connect(stream)
        for _ in range(20):
            publisher.put(5)
        while len(heard) < 100:
            assert (batch := stream.recv(5)), "publishing goes on"
            heard += batch
        wait_until(lambda: recorder._unwritten > 0, what="the disk to be full")
        disk.room = 1 << 20
        publisher.put(5)
    told = History.from_lines(line for line in disk.written.decode().split("\n") if line).events
    numbers = [event.detail["n"] for event in told if event.kind == "done"]
    assert numbers == sorted(set(numbers)) and numbers[-5:] == list(range(publisher.sent - 5, publisher.sent))
    missing = sum(event.detail["missing"] for event in told if event.kind == GAP)
    assert missing >= publisher.sent - len(numbers)


def test_a_refused_gap_counts_for_all_its_missing_events(authenticator: Authenticator) -> None:
    recorder: Any = Recorder(authenticator, None, None)
    recorder._file = disk = FullDisk(room=0)
    recorder._missing = 40  # as after a flood
    recorder.put([Event(1.0, "done"), Event(1.0, "done")])
    wait_until(lambda: recorder._waiting == recorder._written, what="the disk to refuse them")
    disk.room = 1 << 20
    recorder.put([Event(2.0, "done")])
    recorder.close()
    gap, last = History.from_lines(line for line in disk.written.decode().split("\n") if line).events
    assert (gap.detail, last.at) == ({"missing": 42}, 2.0)


def test_a_broker_on_a_full_disk_keeps_serving(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with Rig(tmp_path / "rig", workers=1) as rig:
        rig.kill(rig.broker)
        (rig.folder / "events.jsonl").unlink()
        (rig.folder / "events.jsonl").symlink_to("/dev/full")
        rig.start_broker()
        client = rig.client()
        assert client.submit(jobs.echo, 1).result(10) == 1
        assert client.submit(jobs.echo, 2).result(10) == 2
        wait_until(lambda: "No space left" in rig.log("broker"), what="the complaint")
        assert rig.log("broker").count("No space left") == 1, "said once"


class Pipe:
    """A file that accepts 64 KB and no more until it is read: a disk that hangs."""

    def __init__(self, path: Path) -> None:
        require(hasattr(os, "mkfifo"), "named pipes")
        os.mkfifo(path)
        self.path = path
        self.read = b""
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def drain(self) -> None:
        """Read all that was written."""
        try:
            while part := os.read(self._end, 1 << 16):
                self.read += part
        except BlockingIOError:
            return  # all of it

    def close(self) -> None:
        os.close(self._end)


def test_a_slow_disk_skips_whole_batches_and_records_how_many(
    authenticator: Authenticator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MAX_WAITING", 1000)
    pipe = Pipe(tmp_path / "pipe")
    recorder = Recorder(authenticator, None, pipe.path)
    number = 0
    while recorder._missing < 300:
        recorder.put([Event(1.0, "done", detail={"n": number + i}) for i in range(100)])
        number += 100
        assert number < 10_000, "what waits is bounded"
    left_out = recorder._missing

    def recovered() -> bool:
        pipe.drain()
        return recorder._waiting == recorder._written

    wait_until(recovered, what="the disk to recover")
    recorder.put([Event(2.0, "done", detail={"n": number})])
    wait_until(recovered, what="the last event")
    recorder.close()
    pipe.drain()
    pipe.close()
    events = History.from_lines(pipe.read.decode().splitlines()).events
    (gap,) = [event for event in events if event.kind == GAP]
    assert gap.detail["missing"] == left_out and gap.at == 2.0
    assert len(events) == number - left_out + 2, "all the others, the gap and the last"


# --- on the wire --------------------------------------------------------------------------------------------


def test_a_subscriber_receives_the_same_events_as_the_file(rig: Rig) -> None:
    client = rig.client()
    with EventStream(rig.event_address, rig.credentials) as stream:

        def subscribed() -> list[Event]:
            client.note("test", "subscription")
            return stream.recv(0.05)

        heard = wait_until(subscribed, 10, "the first event")
        futures = [client.submit(jobs.echo, number) for number in range(300)]
        results(futures)
        ours = {future.task_id for future in futures}
        while sum(event.kind == "done" for event in heard if event.task in ours) < 300:
            assert (batch := stream.recv(5)), "more events"
            heard += batch
    written = rig.history().events
    start = next(i for i, event in enumerate(written) if event.at == heard[0].at)
    assert list(written[start : start + len(heard)]) == heard
    assert not any(event.kind == GAP for event in heard)


def test_batches_are_numbered_by_their_first_event(authenticator: Authenticator) -> None:
    with Publisher(authenticator) as publisher:
        listener = sockets.subscriber(authenticator.context, Token("token"))
        listener.connect(publisher.address)
        publisher.put(7)

        def heard() -> int:
            publisher.put(3)
            return listener.poll(20)

        wait_until(heard, 10, "the subscription")
        seen = []
        for _ in range(3):
            publisher.put(3)
            topic, lines = listener.recv_multipart()
            assert topic.startswith(b"events")
            first = json.loads(lines.splitlines()[0])["n"]
            seen.append((struct.unpack("!Q", topic[6:])[0], first, len(lines.splitlines())))
        assert all(number == first and count in (3, 7) for number, first, count in seen)
        listener.close(0)


def test_a_subscriber_that_misses_batches_gets_the_number_of_events(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either the recorder cannot keep up here and skips them, or the subscriber does not read them."""
    monkeypatch.setattr(recorder_module, "MAX_WAITING", 20_000)
    with Publisher(authenticator) as publisher, EventStream(publisher.address, Token("token")) as stream:
        heard = publisher.connect(stream)
        while batch := stream.recv(0.05):
            heard += batch
        for _ in range(2000):
            publisher.put(50)
        wait_until(lambda: publisher.recorder._waiting == publisher.recorder._written, 20, "the recorder")
        while batch := stream.recv(0.2):
            heard += batch
        publisher.put()
        heard += stream.recv(5)
    gaps = [event.detail["missing"] for event in heard if event.kind == GAP]
    numbers = [event.detail["n"] for event in heard if event.kind == "done"]
    assert gaps and numbers == sorted(numbers) and numbers[-1] == publisher.sent - 1
    assert numbers[-1] - numbers[0] + 1 == len(numbers) + sum(gaps), "every event is heard or counted"


def test_a_new_broker_restarts_the_count_and_the_stream_follows(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig, EventStream(rig.event_address, rig.credentials) as stream:
        heard: list[Event] = []

        def until(kind: str, target: str) -> None:
            def found() -> bool:
                client.note("test", target)
                heard.extend(stream.recv(0.05))
                return any(event.kind == kind and target in event.detail.values() for event in heard)

            wait_until(found, 10, f"{kind} {target}")

        client = rig.client()
        until("fault", "first")
        rig.kill(rig.broker)
        rig.start_broker()
        until("fault", "second")
        assert not any(event.kind == GAP and event.detail["missing"] > 20 for event in heard)


def test_a_stranger_receives_no_event_and_gets_the_reason(rig: Rig) -> None:
    with EventStream(rig.event_address, Token(secrets.token_hex(32))) as stream:
        with pytest.raises(AccessDenied):
            stream.recv(3)
    with EventStream(rig.address, rig.credentials) as stream:
        assert stream.recv(0.2) == [], "another kind of socket delivers no events"


def test_without_a_broker_a_read_times_out_empty() -> None:
    before = time.monotonic()
    with EventStream(f"tcp://{HOST}:1", Token("token")) as stream:
        assert stream.recv(0.1) == []
        stream.close()
        assert stream.recv(60) == [] and list(stream) == []
    assert time.monotonic() < before + 30


@timing
@pytest.mark.slow
def test_a_subscriber_that_never_reads_costs_bounded_memory(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        assert rig.broker is not None
        with EventStream(rig.event_address, rig.credentials):
            before = psutil.Process(rig.broker.pid).memory_info().rss
            for _ in range(4):
                results([client.submit(jobs.echo, number) for number in range(5000)])
            after = psutil.Process(rig.broker.pid).memory_info().rss
        assert after - before < 100 << 20
        assert client.submit(jobs.echo, "on").result(5) == "on"
