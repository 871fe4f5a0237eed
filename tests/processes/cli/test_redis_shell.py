"""The redis shell: how replies look, and what it prints when Redis cannot be reached."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from labkit.cli.redis_shell import ErrorReply, Reply, Status, formatted, quoted, raw, run
from labkit.mirror.redis_client import open_client
from labkit.mirror.server import url_of
from tests.tools.redis_server import RedisServer, free_port, running_redis
from tests.tools.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as running:
        yield running


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make standard output claim to be a terminal. Call it in the test itself: pytest replaces stdout."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


# --- how replies look ---


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (None, "(nil)"),
        (3, "(integer) 3"),
        (Status(b"OK"), "OK"),
        (b"OK", '"OK"'),
        (ErrorReply("ERR no"), "(error) ERR no"),
        ([], "(empty array)"),
        ([b"a", 1], '1) "a"\n2) (integer) 1'),
        ([b"a", [b"b", [None]], []], '1) "a"\n2) 1) "b"\n   2) 1) (nil)\n3) (empty array)'),
        ([1] * 10, "\n".join(f"{n:>2}) (integer) 1" for n in range(1, 11))),
    ],
)
def test_a_reply_on_a_terminal_looks_as_in_redis_cli(reply: Reply, shown: str) -> None:
    assert formatted(reply) == shown


def test_unprintable_bytes_are_escaped() -> None:
    assert quoted(b'a"\\\n\r\t\a\b\x00\xc3\xb1~') == r'"a\"\\\n\r\t\a\b\x00\xc3\xb1~"'


def test_a_raw_reply_is_one_value_a_line() -> None:
    assert raw([b"a", [1, None], ErrorReply("ERR no")]) == b"a\n1\n\nERR no"


# --- one command ---


def test_the_courses_commands_on_a_terminal_answer_as_the_course_shows(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_terminal(monkeypatch)
    assert run(server.url, ["HSET", "workers", "worker-1", '{"id": "worker-1"}']) == 0
    assert run(server.url, ["HGETALL", "workers"]) == 0
    assert run(server.url, ["RPUSH", "image_tasks", "a", "b"]) == 0
    assert run(server.url, ["LLEN", "image_tasks"]) == 0
    assert run(server.url, ["PING"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "(integer) 1",
        '1) "worker-1"',
        r'2) "{\"id\": \"worker-1\"}"',
        "(integer) 2",
        "(integer) 2",
        "PONG",
    ]


def test_a_reply_into_a_pipe_is_raw(server: RedisServer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(server.url, ["ECHO", "año"]) == 0
    assert capfdbinary.readouterr().out == "año\n".encode()


def test_an_error_reply_is_shown_and_fails(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_terminal(monkeypatch)
    assert run(server.url, ["NONSENSE"]) == 1
    assert capsys.readouterr().out.startswith("(error) ERR unknown command")


def test_an_unreachable_redis_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert run(url_of(port), ["PING"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert str(port) in output.err
    assert "labkit up" in output.err


def test_a_wrong_password_is_reported_in_one_line_without_it(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"redis://:wrong@127.0.0.1:{server.port}", ["PING"]) == 1
    message = capsys.readouterr().err
    assert "does not let us in" in message
    assert "wrong@" not in message


def test_a_missing_password_shows_the_servers_own_error(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_terminal(monkeypatch)
    with closing(open_client(server.url, 1.0)) as client:
        client.config_set("requirepass", "right")
    assert run(server.url, ["PING"]) == 1
    assert run(f"redis://:right@127.0.0.1:{server.port}/1", ["PING"]) == 0
    assert capsys.readouterr().out.splitlines() == ["(error) NOAUTH Authentication required.", "PONG"]


def test_a_status_is_shown_without_quotes_and_an_equal_string_with_them(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_terminal(monkeypatch)
    assert run(server.url, ["SET", "status", "OK"]) == 0
    assert run(server.url, ["GET", "status"]) == 0
    assert run(server.url, ["EVAL", "return {redis.call('get', 'status'), {ok='OK'}, false}", "0"]) == 0
    assert capsys.readouterr().out.splitlines() == ["OK", '"OK"', '1) "OK"', "2) OK", "3) (nil)"]


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$abc\r\n"])
def test_a_server_that_is_no_redis_is_reported_in_one_line(
    reply: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            peer, _address = listening.accept()
            with peer:
                peer.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert run(url_of(listening.getsockname()[1]), ["PING"]) == 1
        thread.join()
    message = capsys.readouterr().err
    assert message.startswith("no Redis answers at 127.0.0.1:")
    assert len(message.splitlines()) == 1


# --- the prompt ---


def test_commands_from_a_pipe_are_run_until_quit(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "SET greeting 'good day'\n\nGET greeting\nSET it's broken\nGET nothing\nquit\nGET greeting\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert run(server.url, []) == 0
    output = capsys.readouterr()
    assert output.out == "OK\ngood day\n\n"
    assert "quotes" in output.err


def test_after_a_restart_of_redis_the_second_command_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()

    def typed() -> Iterator[str]:
        with running_redis(tmp_path / "redis", port):
            yield "PING"
        with running_redis(tmp_path / "redis", port):
            yield "PING"
            yield "PING"

    monkeypatch.setattr("labkit.cli.redis_shell._lines", lambda prompt: typed())
    assert run(url_of(port), []) == 0
    output = capsys.readouterr()
    assert output.out == "PONG\nPONG\n"
    assert len(output.err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_real_terminal_gets_a_prompt_and_ctrl_c_ends_a_monitor(server: RedisServer) -> None:
    import pty

    ours, theirs = pty.openpty()
    code = "import sys; from labkit.cli.redis_shell import run; sys.exit(run(sys.argv[1], []))"
    shell = subprocess.Popen(
        [sys.executable, "-c", code, server.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""

    def shows(text: str) -> bool:
        nonlocal shown
        try:
            shown += os.read(ours, 4096)
        except BlockingIOError:
            pass  # nothing new yet
        return text.encode() in shown

    try:
        wait_until(lambda: shows(f"127.0.0.1:{server.port}> "), what="the prompt")
        os.write(ours, b"LLEN image_tasks\n")
        wait_until(lambda: shows("(integer) 0"), what="the reply")
        os.write(ours, b"MONITOR\n")
        wait_until(lambda: shows("OK"), what="the monitor to start")
        shell.send_signal(signal.SIGINT)
        assert shell.wait(5.0) == 130
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
