"""The control port: requests, answers and errors; connections that misbehave delay no user."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cluster.supervisor import control
from labkit.cluster.supervisor.control import ControlServer, Request, ask
from labkit.core.errors import (
    AccessDenied,
    ClusterError,
    ClusterNotRunning,
    InvalidInput,
    LabkitError,
    PortInUse,
)
from tests.tools.waiting import wait_until

TOKEN = "a secret"


class Served:
    """A control server in a thread, with a few commands."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.server = ControlServer(self._selector, TOKEN, self._on_request)
        self.late: list[Request] = []
        self.to_do: deque[Callable[[], None]] = deque()  # for the server's own thread
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _on_request(self, request: Request) -> None:
        if request.do == "fail":
            raise PortInUse("port {port} is taken", port=5555)
        if request.do == "late":
            self.late.append(request)
            return
        request.answer({"do": request.do, "with": request.parameters})

    def _run(self) -> None:
        while not self._ending:
            for key, _events in self._selector.select(0.01):
                key.data()
            self.server.sweep(time.monotonic())
            while self.to_do:
                self.to_do.popleft()()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self.server.close()
        self._selector.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def talk(port: int, data: bytes) -> bytes:
    """Send raw bytes and return everything that comes back until the other side hangs up."""
    with socket.create_connection((control.HOST, port), 5) as connection:
        connection.sendall(data)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            return received  # it hung up while we were still talking
        return received


def test_request_is_answered(served: Served) -> None:
    assert ask(served.server.port, TOKEN, "kill", name="worker-2") == {
        "do": "kill",
        "with": {"name": "worker-2"},
    }


def test_error_arrives_with_its_own_class(served: Served) -> None:
    with pytest.raises(PortInUse, match="port 5555 is taken") as caught:
        ask(served.server.port, TOKEN, "fail")
    assert caught.value.params == {"port": 5555}


def test_several_users_are_served_at_once(served: Served) -> None:
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(served.server.port, TOKEN, "late")))
    waiting.start()
    wait_until(lambda: served.late, what="the first question")
    assert ask(served.server.port, TOKEN, "status") == {"do": "status", "with": {}}
    served.to_do.append(lambda: served.late[0].answer("now"))
    waiting.join(5)
    assert answers == ["now"]


def test_an_answer_that_takes_too_long_is_an_indefinite_error(served: Served) -> None:
    with pytest.raises(control.TimedOut, match="did not answer within 0.05 s") as caught:
        ask(served.server.port, TOKEN, "late", timeout_s=0.05)
    assert not caught.value.definite
    wait_until(lambda: served.late, what="the question")
    served.to_do.append(lambda: served.late[0].answer("too late"))  # the user is gone
    assert ask(served.server.port, TOKEN, "status")


def test_a_large_answer_arrives_whole(served: Served) -> None:
    words = ["x" * 1000] * 60
    assert ask(served.server.port, TOKEN, "echo", words=words)["with"]["words"] == words


def test_port_without_listener_means_no_cluster() -> None:
    with socket.create_server((control.HOST, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterNotRunning, match="python -m labkit up"):
        ask(port, TOKEN, "status")


@pytest.mark.parametrize("token", ["", "another", TOKEN + "x", TOKEN[:-1], "ä", None, 5, [TOKEN]])
def test_a_wrong_secret_is_named_and_nothing_else(served: Served, token: Any) -> None:
    with pytest.raises(AccessDenied):
        ask(served.server.port, token, "fail")


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"{}\n",
        b"[1, 2]\n",
        b"null\n",
        b"\xff\xfe\x00\n",
        b"POST /down HTTP/1.1\r\nHost: x\r\n\r\n",
        b"[" * 60_000 + b"\n",
        json.dumps({"labkit": 1, "do": "down", "with": {}}).encode() + b"\n",
    ],
)
def test_garbage_is_refused_by_name(served: Served, data: bytes) -> None:
    assert json.loads(talk(served.server.port, data))["error"]["kind"] == "AccessDenied"
    assert ask(served.server.port, TOKEN, "status")


def test_endless_request_is_cut_off(served: Served) -> None:
    assert talk(served.server.port, b"x" * (control.MAX_REQUEST + 100_000)) == b""
    assert ask(served.server.port, TOKEN, "status")


def test_request_of_another_version_is_refused(served: Served) -> None:
    question = json.dumps({"labkit": 99, "token": TOKEN, "do": "status", "with": {}}).encode() + b"\n"
    assert "another version" in json.loads(talk(served.server.port, question))["error"]["template"]


def test_silent_connection_is_closed_and_delays_no_user(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.1)
    with socket.create_connection((control.HOST, served.server.port), 5) as stranger:
        assert ask(served.server.port, TOKEN, "status")
        assert stranger.recv(1) == b"", "hung up, not waited for"


def test_number_of_connections_is_bounded(served: Served) -> None:
    crowd = [
        socket.create_connection((control.HOST, served.server.port), 5)
        for _ in range(control.MAX_CONNECTIONS + 10)
    ]
    assert crowd[-1].recv(1) == b"", "no place left for the last one"
    for stranger in crowd:
        stranger.close()
    wait_until(lambda: _is_answered(served), what="places to be free again")


def _is_answered(served: Served) -> bool:
    try:
        return bool(ask(served.server.port, TOKEN, "status"))
    except ClusterNotRunning:
        return False


def test_supervisor_that_ends_during_a_request_means_no_cluster(served: Served) -> None:
    errors: list[LabkitError] = []

    def wait() -> None:
        try:
            ask(served.server.port, TOKEN, "late")
        except LabkitError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: served.late, what="the question")
    served.to_do.extend(peer.close for peer in list(served.server._peers))
    waiting.join(5)
    assert [type(error) for error in errors] == [ClusterNotRunning]


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("{name!r} is unknown", name="worker-9"),
        ClusterError("{path} is odd", path=control),
        ClusterNotRunning("none"),
    ],
)
def test_errors_survive_the_wire(error: LabkitError) -> None:
    again = control.decode_error(json.loads(json.dumps(control.encode_error(error))))
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize("kind", ["NoSuchError", "N_", "annotations", "Exception", "ValueError"])
def test_an_unknown_kind_of_error_is_a_cluster_error(kind: str) -> None:
    message: control.ErrorMessage = {"kind": kind, "template": "what {it} said", "params": {"it": "it"}}
    again = control.decode_error(message)
    assert type(again) is ClusterError and str(again) == "what it said"
