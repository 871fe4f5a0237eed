"""What strangers, hostile pages and broken programs send: each gets a named problem, and the server stays."""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.support import descriptors
from tests.processes.gateway.conftest import Side

BATCH = "/api/process-batch/distributed/"


@pytest.fixture(autouse=True)
def stays_well(side: Side) -> Any:
    yield
    assert side.http.get("/api/health/").json()["status"] == "ok"


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_another_host_and_a_foreign_page_are_refused(side: Side) -> None:
    assert side.http.get("/api/health/", headers={"Host": "evil.test"}).status_code == 400
    refused = side.post(BATCH, {"filters": ["blur"]}, headers={"Origin": "http://evil.test"})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:labkit:problem:origin")
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/workers/worker-1/kill/"), ("POST", "/api/cluster/scale/"), ("DELETE", "/api/batch/x/"),
     ("POST", "/api/images/")],
)  # fmt: skip
def test_without_the_token_nothing_changes(side: Side, method: str, path: str) -> None:
    answer = side.http.request(method, path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert "api --show-token" in answer.json()["next"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": []}, "filters"),
        ({"filters": "sharpen"}, "filters"),
        ({}, "filters"),
        ({"filters": ["blur"], "count": 0}, "count"),
        ({"filters": ["blur"], "count": 100_000}, "count"),
        ({"filters": ["blur"], "count": "5"}, "count"),
        ({"filters": ["blur"], "images": [7]}, "images[0]"),
        ({"filters": ["blur"], "images": ["coffee", "http://evil.test/x.png"]}, "images[1]"),
        ({"filters": ["blur"], "images": ["../../etc/passwd"]}, "images[0]"),
        ({"filters": ["blur"], "images": ["f" * 32]}, "images[0]"),
        ({"filters": ["blur"], "url": "http://evil.test"}, "url"),
        ([1, 2], ""),
    ],
)
def test_a_wrong_body_names_its_field(side: Side, body: Any, field: str) -> None:
    answer = side.post(BATCH, body)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("field", "") == field and answer.json()["next"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_json_is_a_problem(side: Side, body: bytes) -> None:
    answer = side.http.post(BATCH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert "the body" in answer.json()["detail"] and answer.json()["next"]


def test_a_body_without_its_content_type_says_which_header_to_send(side: Side) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl sends without a header
    answer = side.http.post(BATCH, content=b'{"filters": ["blur"]}', headers=form)
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")
    assert 'curl -H "Content-Type: application/json"' in answer.json()["next"]


def test_a_filter_that_does_not_exist_is_named_in_the_readers_language(side: Side) -> None:
    answer = side.post(BATCH, {"filters": ["sharpn"]}, headers={"Accept-Language": "es"})
    assert answer.status_code == 422 and answer.headers["content-language"] == "es"
    assert "sharpn" in answer.json()["detail"] and "filtro" in answer.json()["detail"]
    english = side.post(BATCH, {"filters": ["sharpn"]}, headers={"Accept-Language": "en"}).json()
    assert "filter" in english["detail"]


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(side: Side) -> None:
    files = {"image": ("huge.png", png_of(50_000, 50_000))}
    answer = side.http.post("/api/process/", files=files)
    assert answer.status_code == 422 and "50000 x 50000" in answer.json()["detail"]


@pytest.mark.parametrize("data", [b"", b"GIF89a" + b"0" * 20, b"%PDF-1.4", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(side: Side, data: bytes) -> None:
    answer = side.http.post("/api/process/", files={"image": ("../../x.png", data)})
    assert answer.status_code in (415, 422) and "/" not in answer.json()["detail"].split(" ")[0]


def in_pieces(bytes: int) -> Iterator[bytes]:
    for _ in range(bytes >> 16):
        yield b"0" * (1 << 16)


def test_a_body_that_is_too_large_is_refused(side: Side) -> None:
    answer = side.http.post("/api/process/", files={"image": ("x.png", b"0" * (5 << 20))})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:labkit:problem:body-too-large")
    unsaid = side.http.post(BATCH, content=in_pieces(5 << 20), headers={"Content-Type": "application/json"})
    assert (unsaid.status_code, unsaid.json()["type"]) == (413, "urn:labkit:problem:body-too-large")


def test_an_upload_without_the_token_sees_its_answer(side: Side) -> None:
    answer = side.http.post("/api/images/", files={"image": ("x.png", b"0" * (3 << 20))})
    assert answer.status_code == 401


def test_a_slow_body_is_cut(side: Side) -> None:
    with socket.create_connection(("127.0.0.1", side.port), timeout=20) as slow:
        head = f"POST {BATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n"
        slow.sendall(head.encode() + b"{")
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert b"408" in answer.split(b"\r\n")[0] and b"slow-body" in answer


def test_many_idle_connections_stop_nobody(side: Side) -> None:
    idle = []
    try:
        descriptors.allow(2_500)  # of these tests: both ends are in this process
        for _ in range(1_000):
            idle.append(socket.create_connection(("127.0.0.1", side.port), timeout=10))
        assert side.http.get("/api/workers/status/").status_code == 200
    finally:
        for each in idle:
            each.close()


def test_more_batches_than_the_machine_takes_are_told_to_come_back(side: Side) -> None:
    answers: list[int] = []

    def ask() -> None:
        answer = side.post("/api/process-batch/sequential/", {"filters": ["sharpen", "edges"], "count": 40})
        answers.append(answer.status_code)
        if answer.status_code == 429:
            assert answer.headers["retry-after"] and "distributed" in answer.json()["next"]

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert side.http.get("/api/workers/status/").status_code == 200, "the event loop is free meanwhile"
    for thread in threads:
        thread.join()
    assert sorted(set(answers)) == [200, 429]
