"""A client follows a broker that comes back at another port."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labkit import jobs
from labkit.client.broker_search import BrokerSearch
from labkit.client.client import Client
from labkit.core.errors import BrokerUnreachable, ClusterError
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until


def test_open_tasks_are_done_by_a_broker_that_came_back_at_another_port(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        former = rig.address
        with Client(former, rig.credentials, find_broker=lambda: rig.address) as client:
            assert client.submit(jobs.echo, 1).result(10) == 1
            rig.kill(rig.broker)
            rig.kill(rig.workers["worker-1"])
            future = client.submit(jobs.echo, "patience")
            rig.ports = {}
            rig.start_broker()
            rig.start_worker("worker-1")
            assert future.result(30) == "patience"
            assert client.address == rig.address != former


def test_a_client_finds_a_broker_that_moved_before_its_first_word(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        client = Client(
            "tcp://127.0.0.1:9", rig.credentials, connect_timeout_s=20, find_broker=lambda: rig.address
        )
        with client:
            assert client.status()["workers"] == []


def test_without_a_broker_to_be_found_the_error_is_the_usual_one(tmp_path: Path) -> None:
    asked = threading.Event()

    def find() -> str:
        asked.set()
        raise ClusterError("the broker's container is missing")

    with Rig(tmp_path / "rig") as rig, pytest.raises(BrokerUnreachable, match="did not answer within"):
        Client("tcp://127.0.0.1:9", rig.credentials, connect_timeout_s=6, find_broker=find)
    assert asked.is_set()


def test_searches_do_not_pile_up_while_docker_hangs() -> None:
    answers = threading.Event()
    begun: list[threading.Thread] = []
    moved: list[str] = []

    def find() -> str:
        begun.append(threading.current_thread())
        answers.wait(20)
        return "tcp://127.0.0.1:6001"

    search = BrokerSearch("tcp://127.0.0.1:5555", find, moved.append)
    for _ in range(3):
        search.start()
    answers.set()
    begun[0].join(20)
    assert len(begun) == 1 and moved == ["tcp://127.0.0.1:6001"]

    def begins_again() -> bool:
        search.start()
        return len(begun) == 2

    wait_until(begins_again, 10.0, "the next search")
    begun[1].join(20)
    assert moved == ["tcp://127.0.0.1:6001"], "it is there already"
