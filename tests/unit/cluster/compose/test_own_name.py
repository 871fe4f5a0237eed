"""A container's own name, from the answers of Docker's DNS server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from labkit.cluster.compose import agent, own_name
from labkit.support.settings import Settings

ANSWER = (
    b"\x124\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x014\x010\x0218\x03172\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"
    b"\x014\x010\x0218\x03172\x07in-addr\x04arpa\x00\x00\x0c\x00\x01\x00\x00\x02X\x00\x17\x0cana-worker-2\x08ana_work\x00"
)
"""What Docker 20.10 answered in the second elastic worker of the project "ana"."""


def test_a_question_is_the_address_backwards() -> None:
    assert (
        own_name.question(0x1234, "172.18.0.4") == b"\x124\x01\x00" + ANSWER[4:6] + b"\0" * 6 + ANSWER[12:41]
    )


def test_the_name_is_in_the_first_ptr_record() -> None:
    name = own_name.name_in(ANSWER, 0x1234)
    assert name == "ana-worker-2.ana_work"
    assert own_name.container_of(name) == "ana-worker-2"
    assert own_name.container_of("a.b-worker-2.a_work") == "a.b-worker-2"


def test_a_record_of_another_kind_is_passed_over_and_a_pointer_followed() -> None:
    head = b"\x00\x07\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00"
    asked = b"\x014\x04arpa\x00\x00\x0c\x00\x01"
    alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x0c"
    record = b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x01\x00\x0e\x01x\x08ana_work\xc0\x0e"
    assert own_name.name_in(head + asked + alias + record, 7) == "x.ana_work.arpa"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        ANSWER[:20],
        ANSWER[:-3],
        b"\x99\x99" + ANSWER[2:],
        ANSWER[:6] + b"\0\0" + ANSWER[8:],
        b"\x124\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c",
        b"\x124\x81\x80" + b"\xff" * 400,
    ],
    ids=["nothing", "cut", "cut in the name", "of another query", "no answer", "points to itself", "noise"],
)
def test_what_is_no_answer_gives_no_name(answer: bytes) -> None:
    assert own_name.name_in(answer, 0x1234) == ""


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A DNS server that gives ``ANSWER`` to each query but the first, and the queries that it received."""
    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, asker = server.recvfrom(512)
                if not query:
                    return
                received.append(query)
                if len(received) > 1:
                    server.sendto(query[:2] + ANSWER[2:], asker)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(own_name, "DNS", server.getsockname())
        monkeypatch.setattr(own_name, "ANSWER_S", 0.2)
        monkeypatch.setattr("socket.gethostbyname", lambda _name: "172.18.0.4")
        yield received
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join()


def test_a_lost_query_is_asked_again_and_names_the_elastic_worker(dns: list[bytes]) -> None:
    assert agent.name_of("worker", Settings()) == "ana-worker-2"
    assert len(dns) == 2 and dns[0][2:] == own_name.question(0, "172.18.0.4")[2:]
    assert agent.name_of("worker", Settings(worker_id="worker-2")) == "worker-2"
    assert agent.name_of("broker", Settings()) == "broker"


def test_without_such_a_server_the_name_is_made_of_the_containers_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_name, "DNS", ("127.0.0.1", 1))
    monkeypatch.setattr("socket.gethostname", lambda: "36cb8da93273")
    monkeypatch.setattr("socket.gethostbyname", lambda _name: "127.0.0.1")
    assert agent.name_of("worker", Settings()) == "worker-36cb8da93273"
