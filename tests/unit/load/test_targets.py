"""The calls over HTTP, against a small server of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labkit.load.targets import Ending, ThroughHttp
from tests.tools.waiting import wait_until


class Server(ThreadingHTTPServer):
    """Answers each upload with the next of ``answers``: a status, or None to close the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int | None] = []
        self.connections: set[int] = set()
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.server.connections.add(self.client_address[1])
        self.server.tokens.append(self.headers["Authorization"])
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.answers.pop(0)
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.send_header("X-Worker", "worker-2")
        self.send_header("X-Compute-Seconds", "0.25")
        self.end_headers()
        self.wfile.write(b"image")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def outcomes(server: Server, *answers: int | None) -> list[Ending]:
    """Return what comes of one task for each answer, one after the other."""
    server.answers = list(answers)
    endings: list[Ending] = []
    target = ThroughHttp("127.0.0.1", server.server_port, "s3cret", b"JPEG", endings.append)
    try:
        for number in range(len(answers)):
            target.submit(number)
            wait_until(lambda n=number: len(endings) == n + 1, 20.0, "the outcome")  # type: ignore[misc]
    finally:
        target.close()
    return endings


def test_tasks_share_a_kept_connection_and_carry_the_token(server: Server) -> None:
    endings = outcomes(server, 200, 200, 200)
    assert [(each.number, each.worker, each.compute_s, each.error) for each in endings] == [
        (number, "worker-2", 0.25, "") for number in range(3)
    ]
    assert len(server.connections) == 1 and set(server.tokens) == {"Bearer s3cret"}
    assert b'filename="load.jpg"' in server.bodies[0] and b"JPEG" in server.bodies[0]


def test_refusals_and_lost_connections_are_errors_with_a_name(server: Server) -> None:
    endings = outcomes(server, 429, None, 200)
    assert [each.error for each in endings] == ["HTTP 429", "IncompleteReadError", ""]
    assert endings[0].compute_s is None and endings[2].worker == "worker-2"


def test_a_server_that_is_gone_is_an_error() -> None:
    with Server() as server:
        port = server.server_port
    endings: list[Ending] = []
    target = ThroughHttp("127.0.0.1", port, "s3cret", b"JPEG", endings.append)
    target.submit(0)
    wait_until(lambda: endings, 20.0, "the outcome")
    target.close()
    assert endings[0].error == "ConnectionRefusedError"


def test_closing_cancels_what_is_under_way(server: Server) -> None:
    began, free = threading.Event(), threading.Event()

    class Slow(Handler):
        def do_POST(self) -> None:
            began.set()
            free.wait(20)

    server.RequestHandlerClass = Slow
    endings: list[Ending] = []
    target = ThroughHttp("127.0.0.1", server.server_port, "s3cret", b"JPEG", endings.append)
    target.submit(0)
    assert began.wait(20)
    target.close()
    free.set()
    assert endings == []
