"""Thirty readers of /api/events/ while a recorded history of 1,000 tasks a second is played fast."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from labkit.cluster.history_file import EventFile
from labkit.core import history as h
from labkit.core.history import Event, encode_events
from labkit.gateway import live
from labkit.gateway.access import Access
from labkit.gateway.app import build
from labkit.gateway.event_ring import EventRing
from labkit.gateway.gateway import Gateway
from labkit.gateway.server import Server, bind
from labkit.gateway.task_book import TaskBook
from tests.tools.waiting import wait_until

READERS = 30
TASKS_PER_S = 1_000
KEPT = 4_000
"""Tasks and events that are kept: fewer than in a real gateway, so that a short history fills them."""
SECONDS = 8
MIB = 1 << 20


def second_of(number: int) -> list[Event]:
    """Return one second of the history: 1,000 tasks on three workers, four events each."""
    events = []
    for n in range(TASKS_PER_S):
        at = 10.0 + number + n / TASKS_PER_S
        task, worker = f"{number * TASKS_PER_S + n:032x}", f"worker-{n % 3 + 1}"
        events += [
            Event(at, h.SUBMITTED, task, detail={"client": "c", "job": "labkit.jobs:echo"}),
            Event(at, h.DISPATCHED, task, 1, worker),
            Event(at, h.STARTED, task, 1, worker),
            Event(at, h.DONE, task, 1, worker, {"compute_s": 0.0005}),
        ]
    return events


class Reader:
    """Reads a stream of events and keeps only counts: how many, the last number, how many are missing."""

    def __init__(self, port: int) -> None:
        self.events = self.missing = self.last = 0
        self.in_order = True
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._socket.sendall(b"GET /api/events/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in self._socket.recv(65536), "its events come later"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rest = b""
        while piece := self._socket.recv(1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if found := re.match(rb"id: c0ffee-(\d+)\r", line):
                    self.events += 1
                    self.in_order &= int(found[1]) > self.last
                    self.last = int(found[1])
                elif found := re.match(rb'data: \{"missing": (\d+)\}', line):
                    self.missing += int(found[1])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "events.jsonl"
    begin = Event(1.0, h.BROKER_STARTED, detail={"epoch": "c0ffee"})
    file.write_text(encode_events([begin]) + "\n")
    return file


@pytest.fixture
def played(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[live.Live, int]]:
    monkeypatch.setattr(live, "TaskBook", lambda: TaskBook(KEPT))
    monkeypatch.setattr(live, "EventRing", lambda: EventRing(KEPT * 2))
    following = live.Live(EventFile(file))
    bound = bind("127.0.0.1", 0)
    server = Server(build(cast(Gateway, SimpleNamespace(live=following)), Access("s3cret")))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, 10.0, "the server")
    yield following, bound.getsockname()[1]
    server.stop()
    thread.join(20)
    following.close()


def test_thirty_readers_of_a_fast_history_miss_nothing_unsaid_and_memory_stays_flat(
    file: Path, played: tuple[live.Live, int]
) -> None:
    following, port = played
    wait_until(lambda: following.counts()[h.BROKER_STARTED], 10.0, "the begin")
    readers = [Reader(port) for _ in range(READERS)]
    process = psutil.Process()
    memory: list[int] = []
    try:
        for number in range(SECONDS):
            with file.open("a") as out:
                out.write(encode_events(second_of(number)) + "\n")
            total = (number + 1) * TASKS_PER_S * 4 + 1  # the broker's start is the first

            def all_told(total: int = total) -> bool:
                return all(reader.last == total for reader in readers)

            wait_until(all_told, 30.0, "every reader has the last event")
            memory.append(process.memory_info().rss)
        for reader in readers:
            assert reader.in_order
            assert reader.events + reader.missing == total - 1, "each event came, or was said to be missing"
    finally:
        for reader in readers:
            reader.close()
    growth = memory[-1] - memory[SECONDS // 2]
    assert growth < 16 * MIB, [each // MIB for each in memory]
