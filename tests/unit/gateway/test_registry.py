"""The workers as Redis shows them: what a caller gets when the copy is old, or there is none."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from labkit.gateway.batch_store import BatchStore
from labkit.gateway.registry import Picture, Registry, workers_status
from labkit.support.i18n import in_language
from tests.tools.waiting import wait_until

BROKER = {"workers": [{"id": "worker-1", "status": "ready"}], "queued": 0, "assigned": 0}


@pytest.fixture
def refused() -> str:
    """Return the URL of a port at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"redis://:secret@127.0.0.1:{unused.getsockname()[1]}/0"


def row(heartbeat: float) -> dict[str, Any]:
    return {"id": "worker-1", "status": "active", "last_heartbeat": heartbeat, "tasks_completed": 4}


@pytest.mark.parametrize(("age_s", "state", "stale"), [(0.5, "ok", False), (9.0, "stale", True)])
def test_an_old_copy_is_called_stale_and_keeps_its_counts(age_s: float, state: str, stale: bool) -> None:
    answer = workers_status(Picture([row(100.0 - age_s)], 100.0), BROKER, 100.0)
    assert (answer["redis"], answer["stale"], answer["active"], answer["total"]) == (state, stale, 1, 1)
    assert answer["problem"] is None


def test_without_redis_the_counts_are_unknown_and_not_zero(refused: str) -> None:
    answer = workers_status(Registry(refused).cached.get(), BROKER, 100.0)
    assert (answer["redis"], answer["stale"]) == ("unavailable", True)
    assert (answer["active"], answer["total"], answer["tasks_completed"]) == (None, None, None)
    assert answer["broker"]["workers"] == {"worker-1": "ready"}


@pytest.mark.parametrize("url", ["refused", None])
def test_why_there_is_no_copy_is_said_in_the_readers_language(url: str | None, refused: str) -> None:
    picture = Registry(refused if url else None).cached.get()
    english = picture.problem
    with in_language("es"):
        spanish = picture.problem
    assert english and spanish and english != spanish
    assert "secret" not in english and "Error" not in english and "connecting" not in english


def test_the_store_notices_a_lost_redis_without_any_batch(refused: str) -> None:
    store = BatchStore(refused)
    try:
        wait_until(lambda: store.where == "memory", 10.0, "the store looks")
    finally:
        store.close()
