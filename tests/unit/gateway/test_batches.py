"""Distributed batches: outcomes, answers, what is kept for the next gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from labkit.client.prepare import prepare_call
from labkit.core.errors import ClientGone, LabkitError, NoWorker, TaskFailed, TaskHung, TaskPoisoned
from labkit.core.protocol.rules import Rules
from labkit.gateway.batch_record import BatchRecord, Row, decode
from labkit.gateway.batch_store import BatchStore
from labkit.gateway.batches import MOST_BATCHES, MOST_OPEN, Batches
from labkit.gateway.pictures import Picture
from labkit.gateway.problems import Problem
from labkit.gateway.spool import Spool
from labkit.imaging.filters import parse_steps

STEPS = parse_steps(["sharpen"], {"sharpen": {"intensity": 2}})
PICTURES = [Picture(f"photo-{n}", b"bytes") for n in range(3)]


class OneFuture(Future[Any]):
    def __init__(self, task: bytes) -> None:
        super().__init__()
        self.task_id = task.hex()
        self.worker: str | None = None
        self.attempt = 0


class OneClient:
    """A client whose tasks end when the test says so."""

    def __init__(self) -> None:
        self.futures: list[OneFuture] = []

    def prepare(self, function: Any, args: Any, kwargs: Any) -> Any:
        return prepare_call(Rules(), function, args, kwargs)

    def submit_prepared(self, calls: Any) -> list[OneFuture]:
        new = [OneFuture(call.task) for call in calls]
        self.futures += new
        return new

    def end(
        self, number: int, result: bytes | BaseException = b"png", worker: str = "w-1", attempt: int = 1
    ) -> None:
        future = self.futures[number]
        future.worker, future.attempt = worker, attempt
        if isinstance(result, CancelledError):
            future.cancel()
        elif isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


class Kept:
    """A store that keeps what it is given, as a Redis would."""

    def __init__(self) -> None:
        self.texts: dict[str, Any] = {}
        self.where = "redis"

    def load(self) -> list[BatchRecord]:
        return [decode(text() if callable(text) else text) for text in self.texts.values()]

    def save(self, id: str, text: Any) -> None:
        self.texts[id] = text

    def drop(self, id: str) -> None:
        self.texts.pop(id, None)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.fixture
def client() -> OneClient:
    return OneClient()


@pytest.fixture
def batches(client: OneClient, spool: Spool) -> Iterator[Batches]:
    store = BatchStore(None)
    yield Batches(client, spool, store)  # type: ignore[arg-type]
    store.close()


def test_a_batch_answers_at_once_and_is_done_when_all_are(
    batches: Batches, client: OneClient, spool: Spool
) -> None:
    record = batches.submit(PICTURES, STEPS)
    answer = batches.answer(record)
    assert (answer["status"], answer["processed_count"], answer["kept_in"]) == ("running", 0, "memory")
    assert answer["task_ids"] == [future.task_id for future in client.futures]
    for number, worker in enumerate(["w-1", "w-2", "w-1"]):
        assert not batches.over(record).done()
        client.end(number, b"%d" % number, worker, attempt=1 + (number == 2))
    assert batches.over(record).result(0) is record
    answer = batches.answer(record)
    assert (answer["status"], answer["processed_count"], answer["filters_used"]) == ("done", 3, ["sharpen"])
    assert answer["workers"] == [
        {"worker": "w-1", "images": 2, "share": 0.6667}, {"worker": "w-2", "images": 1, "share": 0.3333},
    ]  # fmt: skip
    assert answer["done_again"] == [{"task_id": record.rows[2].task, "attempts": 2}]
    assert answer["avg_time_per_image"] == pytest.approx(answer["total_time"] / 3, abs=1e-6)
    assert spool.get(record.rows[1].task) == b"1"


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        (TaskFailed("no"), "failed", "error"),
        (TaskHung("no"), "failed", "hung"),
        (TaskPoisoned("no"), "failed", "poisoned"),
        (NoWorker("no"), "failed", "no_worker"),
        (CancelledError(), "cancelled", ""),
        (ClientGone("no"), "cancelled", "gateway_closed"),
        (ValueError("no"), "failed", "error"),
    ],
)
def test_each_way_to_fail_has_its_name(
    batches: Batches, client: OneClient, error: BaseException, outcome: str, kind: str
) -> None:
    record = batches.submit(PICTURES[:2], STEPS)
    client.end(0)
    client.end(1, error)
    answer = batches.answer(record)
    assert answer["status"] == outcome and answer["processed_count"] == 1
    (row,) = answer["failed"]
    assert (row["index"], row["image"], row["kind"]) == (1, "photo-1", kind or outcome)
    assert batches.over(record).done()


def test_cancel_ends_what_has_not_started(batches: Batches, client: OneClient) -> None:
    record = batches.submit(PICTURES, STEPS)
    client.end(0)
    client.futures[1].set_running_or_notify_cancel()
    assert batches.cancel(record) == 1
    assert batches.answer(record)["status"] == "running"
    client.end(1)
    assert batches.answer(record)["status"] == "cancelled"


def test_an_unknown_batch_is_a_problem(batches: Batches) -> None:
    with pytest.raises(Problem, match="there is no batch abc") as caught:
        batches.find("abc")
    assert caught.value.status == 404


def test_too_much_under_way_is_refused_with_a_time_to_come_back(batches: Batches, client: OneClient) -> None:
    batches.submit([Picture("a", b"")] * MOST_OPEN, STEPS)
    with pytest.raises(Problem) as caught:
        batches.submit(PICTURES[:1], STEPS)
    assert caught.value.status == 429 and "Retry-After" in caught.value.headers
    client.end(0)
    batches.submit(PICTURES[:1], STEPS)


def test_old_batches_are_forgotten_but_never_an_open_one(batches: Batches, client: OneClient) -> None:
    first = batches.submit(PICTURES[:1], STEPS)
    for number in range(1, MOST_BATCHES + 5):
        batches.submit(PICTURES[:1], STEPS)
        client.end(number)
    assert batches.find(first.id) is first and len(batches.latest()) == MOST_BATCHES
    assert batches.row_of(client.futures[1].task_id) is None


def test_a_full_spool_is_the_pictures_failure_and_no_crash(client: OneClient, tmp_path: Path) -> None:
    store = BatchStore(None)
    batches = Batches(client, Spool(tmp_path, most_bytes=2), store)  # type: ignore[arg-type]
    record = batches.submit(PICTURES[:1], STEPS)
    client.end(0, b"too many bytes")
    assert batches.answer(record)["status"] == "failed"
    store.close()


def test_the_next_gateway_goes_on_where_the_former_one_was(spool: Spool, client: OneClient) -> None:
    kept = Kept()
    former = Batches(client, spool, kept)  # type: ignore[arg-type]
    own = spool.put(b"an upload")
    record = former.submit([Picture(own, b"an upload")] * 3 + [Picture("0" * 32, b"gone")], STEPS)
    client.end(0, worker="w-1")
    spool.put(b"its answer was on its way", record.rows[1].task)
    former.close()
    client.end(2, ClientGone("closed"))
    kept.texts = {record.id: record.encode()}

    later = OneClient()
    batches = Batches(later, spool, kept)  # type: ignore[arg-type]
    assert batches.restore() == 1
    same = batches.find(record.id)
    assert [row.task for row in same.rows] == [row.task for row in record.rows], "callers keep their ids"
    assert [row.outcome for row in same.rows] == ["done", "done", "", "failed"]
    assert "no picture" in same.rows[3].error
    assert same.rows[2].id == later.futures[0].task_id != same.rows[2].task
    assert batches.row_of(same.rows[2].id) is same.rows[2] is batches.row_of(same.rows[2].task)
    later.end(0, b"again", attempt=1)
    assert batches.over(same).done() and spool.get(same.rows[2].task) == b"again"
    assert batches.answer(same)["resubmitted_by_a_new_gateway"] == 1


def test_a_record_survives_its_json() -> None:
    rows = [Row("a" * 32, "ñandú"), Row("b" * 32, "x", "failed", "hung", "why", "w-1", 2, "c" * 32)]
    record = BatchRecord("d" * 32, 12.5, STEPS, rows, 13.0, 1)
    assert decode(record.encode()) == record


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "7", '["a"]', "nonsense", '["a", 1, [], [["t"]], null, 0]',
     '["a", {}, [], [], null, 0]',
     '["a", 1, [["x", 3]], [], null, 0]', '["a", 1, [], [["t", 1, "", "", "", "", 0, ""]], null, 0]',
     '["a", 1, [], [["t", "", "odd", "", "", "", 0, ""]], null, 0]', "\ud800"],
)  # fmt: skip
def test_anything_else_in_a_store_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


def test_an_error_of_labkit_keeps_its_words() -> None:
    record = BatchRecord("d" * 32, 0.0, STEPS, [Row("a" * 32, "x")])
    record.take(record.rows[0], LabkitError("it is {what}", what="so"), "w", 1, 1.0)
    assert record.answer(2.0)["failed"][0]["error"] == "it is so"
    assert json.loads(record.encode())[4] == 1.0
