"""A step that fails between creating a socket and owning it is a named error, and leaves nothing open."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from labkit import jobs
from labkit.client.client import Client
from labkit.core.errors import ClientFailed, ClientGone, InvalidInput, LabkitError, TooManyOpenFiles
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Token
from labkit.support import descriptors
from labkit.transport import handshake_monitor, sockets, unix_socket
from labkit.transport.event_stream import EventStream
from labkit.transport.poller import Poller
from tests.tools.patching import replaced_here
from tests.tools.rig import ROOT, Rig, ThreadBroker
from tests.tools.waiting import require, wait_until


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=1) as rig:
        yield rig


def opened() -> tuple[int, int]:
    """Return how many descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


# --- few descriptors ----------------------------------------------------------------------------------------

EACH_NUMBER = """
    import json, os, resource, sys, threading, time
    from labkit.client.client import Client
    from labkit.core.errors import LabkitError
    from labkit.security.credentials import Token
    from labkit.transport.event_stream import EventStream

    def used():
        return len(os.listdir("/proc/self/fd")) - 1

    def client():
        with Client(address, token, connect_timeout_s=20) as client:
            client.submit("labkit.jobs:echo", 1).result(60)

    def stream():
        EventStream(events, token).close()

    address, events, token = sys.argv[1], sys.argv[2], Token(sys.argv[3])
    client(), stream()  # everything is imported
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for function in (client, stream):
        for free in range(24):
            before, threads, began = used(), threading.active_count(), time.monotonic()
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + free, hard))
            said = ""
            try:
                function()
            except LabkitError as error:
                said = type(error).__name__
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            took = time.monotonic() - began
            left = used() - before, threading.active_count() - threads
            print(json.dumps([function.__name__, free, said, took, left]), flush=True)
"""


def test_with_few_descriptors_left_there_is_a_named_error_or_a_connection(rig: Rig) -> None:
    require(os.path.isdir("/proc/self/fd"), "a list of the process's descriptors")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EACH_NUMBER), rig.address, rig.event_address, rig.token],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rows) == 48
    for function, free, said, took, left in rows:
        assert said in ("", "TooManyOpenFiles") and took < 15 and left == [0, 0], (function, free, said, took)
        assert said == "" or free < 20, "that many are enough"
        assert said != "" or free > 8, "that few are not"


LARGE_AND_FULL = """
    import json, os, resource, sys
    from labkit.client.client import Client
    from labkit.security.credentials import Token

    def used():
        return len(os.listdir("/proc/self/fd")) - 1

    address, token, free = sys.argv[1], Token(sys.argv[2]), int(sys.argv[3])
    with Client(address, token) as client:
        client.submit("labkit.jobs:echo", 1).result(10)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used() + free, hard))
        print(len(client.submit("labkit.jobs:echo", b"x" * 200_000).result(10)), flush=True)
"""


@pytest.mark.parametrize("free", range(12))
def test_a_first_large_message_needs_no_descriptor(rig: Rig, free: int) -> None:
    require(os.path.isdir("/proc/self/fd"), "a list of the process's descriptors")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE_AND_FULL), rig.address, rig.token, str(free)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "200000"), ran.stderr


def test_a_broker_with_too_few_descriptors_says_so(rig: Rig, tmp_path: Path) -> None:
    require(os.name == "posix", "ulimit")
    for limit, module in ((20, "labkit broker"), (40, "labkit broker"), (8, "workers"), (14, "workers")):
        environment = {**rig.broker_environment(), "LABKIT_FOLDER": str(tmp_path)}
        environment |= {"LABKIT_BROKER": rig.worker_address, "WORKER_ID": "worker-9"}
        ran = subprocess.run(
            ["sh", "-c", f"ulimit -n {limit}; exec {sys.executable} -P -m {module}"],
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            text=True,
            capture_output=True,
            timeout=30,
        )
        assert ran.returncode == 1 and "Too many files are open" in ran.stderr, (limit, module, ran.stderr)
        assert "Traceback" not in ran.stderr


def test_the_limit_is_not_told_as_a_port_that_is_taken() -> None:
    def refuse(*_: Any) -> None:
        raise zmq.ZMQError(errno.EMFILE)

    before = opened()
    with replaced_here(zmq.Socket, "bind", refuse):
        with pytest.raises(TooManyOpenFiles):
            ThreadBroker()
    assert opened() == before


# --- each step ----------------------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


STEPS: list[tuple[Any, str]] = [
    (unix_socket, "best"),
    (sockets, "_authenticate"),
    (sockets, "_limit"),
    (zmq.Socket, "monitor"),
    (handshake_monitor, "monitor_of"),
    (Poller, "add"),
    (zmq.Socket, "connect"),
]


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "full"), zmq.ZMQError(errno.ENOMEM), ValueError()])
@pytest.mark.parametrize(("where", "step"), STEPS)
def test_a_client_whose_step_fails_is_a_named_error_and_leaves_nothing_open(
    rig: Rig, where: Any, step: str, error: BaseException
) -> None:
    before = opened()
    began = time.monotonic()
    with replaced_here(where, step, failing(error)):
        with pytest.raises((LabkitError, ValueError, zmq.ZMQError)) as caught:
            Client(rig.address, Token(rig.token), connect_timeout_s=60)
    assert time.monotonic() - began < 30, "it does not wait for an answer that cannot come"
    if step != "add":  # the first ``add`` is the constructor's own
        expected = TooManyOpenFiles if descriptors.is_exhausted(error) else ClientFailed
        assert type(caught.value) is expected
    wait_until(lambda: opened() == before, 5, "everything to be closed")


@pytest.mark.parametrize(("where", "step"), [step for step in STEPS if step[1] not in ("best", "_limit")])
def test_a_stream_whose_step_fails_leaves_nothing_open(rig: Rig, where: Any, step: str) -> None:
    before = opened()
    with replaced_here(where, step, failing(OSError(errno.EMFILE, "full"))):
        with pytest.raises(TooManyOpenFiles):
            EventStream(rig.event_address, Token(rig.token))
    wait_until(lambda: opened() == before, 5, "everything to be closed")
    with pytest.raises(InvalidInput):
        EventStream("nowhere", Token(rig.token))


BROKER_STEPS: list[tuple[Any, str, int]] = [
    *[(zmq.Socket, "monitor", nth) for nth in (1, 2)],
    *[(zmq.Socket, "bind", nth) for nth in (1, 2, 3, 4)],
    *[(Poller, "add", nth) for nth in (1, 2)],
    *[(threading.Thread, "start", nth) for nth in (1, 2)],
]


@pytest.mark.parametrize(("where", "step", "nth"), BROKER_STEPS)
def test_a_broker_whose_step_fails_leaves_nothing_open(
    tmp_path: Path, where: Any, step: str, nth: int
) -> None:
    before = opened()
    real, count = getattr(where, step), 0

    def fail_the_nth(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            raise zmq.ZMQError(errno.ENOMEM) if where is zmq.Socket else RuntimeError("no more")
        return real(*args, **named)

    with replaced_here(where, step, fail_the_nth):
        with pytest.raises((LabkitError, zmq.ZMQError, RuntimeError)):
            ThreadBroker(tmp_path / "events.jsonl")
    wait_until(lambda: opened() == before, 5, "everything to be closed")


def test_replaced_step_is_another_clients_own(rig: Rig, tmp_path: Path) -> None:
    """A client that looks for its broker meanwhile neither fails nor counts."""
    calls: list[str] = []

    def count(socket: Any, *args: Any) -> Any:
        calls.append(threading.current_thread().name)
        return real(socket, *args)

    real = zmq.Socket.monitor
    with Client(rig.address, Token(rig.token), rules=Rules(broker_gone_s=0.2)) as other:
        thread = other._io_loop._thread
        with replaced_here(zmq.Socket, "monitor", count):
            rig.freeze(rig.broker)
            before = other._io_loop._connection._socket
            wait_until(lambda: other._io_loop._connection._socket is not before, 10, "it to connect anew")
            rig.thaw(rig.broker)
            with ThreadBroker(tmp_path / "events.jsonl"):
                pass
        assert thread.is_alive() and not other.has_failed
        assert len(calls) == 4 and "labkit-client" not in calls


def test_a_thread_that_cannot_be_started_is_a_named_error(rig: Rig) -> None:
    before = opened()
    with replaced_here(threading.Thread, "start", failing(RuntimeError("can't start new thread"))):
        with pytest.raises(ClientFailed, match="can't start new thread"):
            Client(rig.address, Token(rig.token))
    assert opened() == before


def test_without_a_temporary_folder_a_client_uses_the_port(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", failing(FileNotFoundError("No usable temporary directory")))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Client(rig.address, Token(rig.token)) as client:
        assert client.submit(jobs.echo, 1).result(10) == 1


# --- an I/O loop that fails later ---------------------------------------------------------------------------


@pytest.mark.parametrize("leads", ["the loop's own thread", "the user's thread"])
def test_a_dead_loop_is_told_as_itself_and_not_as_a_silent_broker(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, leads: str
) -> None:
    client = Client(rig.address, Token(rig.token))
    future = client.submit(jobs.sleep_for, 3)
    monkeypatch.setattr(client._io_loop, "_take_in", failing(ZeroDivisionError("a bug")))
    if leads == "the user's thread":
        client._io_loop._left_at = time.monotonic() + 1  # the loop's own thread stands back
    error = future.exception(10)
    assert isinstance(error, ClientGone) and "ZeroDivisionError: a bug" in str(error)
    assert isinstance(error.__cause__, ClientFailed)
    for ask in (client.status, lambda: client.submit(jobs.echo, 1), lambda: client.note("kill", "worker-1")):
        with pytest.raises(ClientFailed, match="ZeroDivisionError"):
            ask()
    assert not future.cancel() and client.has_failed
    client.close()


def test_an_answer_that_is_awaited_when_the_loop_dies_is_the_failure(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(rig.address, Token(rig.token))
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            client.status(timeout_s=20)
        except LabkitError as error:
            errors.append(error)

    rig.freeze(rig.broker)
    try:
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: client._answers, what="the question")
        monkeypatch.setattr(client._io_loop, "_take_in", failing(zmq.ZMQError(errno.EMFILE)))
        client._io_loop._waker.wake()
        asking.join(10)
        assert not asking.is_alive() and [type(error) for error in errors] == [TooManyOpenFiles]
    finally:
        rig.thaw(rig.broker)
    client.close()
