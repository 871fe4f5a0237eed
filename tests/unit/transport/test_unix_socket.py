"""The Unix socket beside a loopback port: peers with port and secret find it, and nothing depends on it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.transport import unix_socket
from tests.tools.patching import replaced_here

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
PORT = 54321
ADDRESS = f"tcp://127.0.0.1:{PORT}"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Yield a private folder with a short name that replaces the user's."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def listening() -> Iterator[Path]:
    """Yield the path of a socket that listens like the broker with the secret "s"."""
    path = unix_socket.path_for(PORT, "s")
    assert path is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def test_a_peer_with_port_and_secret_finds_the_unix_socket(listening: Path) -> None:
    assert unix_socket.best(ADDRESS, "s") == f"ipc://{listening}"


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        (ADDRESS, "another"),
        ("tcp://127.0.0.1:54322", "s"),
        ("tcp://192.0.2.1:54321", "s"),
        ("tcp://localhost:54321", "s"),
    ],
)
def test_a_peer_without_both_uses_the_port(listening: Path, address: str, secret: str) -> None:
    assert unix_socket.best(address, secret) == address


def test_a_dead_unix_socket_is_not_used_and_is_removed(listening: Path) -> None:
    left = unix_socket.path_for(PORT, "dead")
    assert left is not None
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    assert left.exists() and unix_socket.best(ADDRESS, "dead") == ADDRESS
    unix_socket.sweep()
    assert not left.exists() and listening.exists()


def test_a_file_that_cannot_be_removed_does_not_stop_a_broker(listening: Path) -> None:
    (listening.parent / "a-folder").mkdir()
    unix_socket.sweep()
    assert listening.exists()


def test_only_the_socket_of_the_ended_broker_is_removed(listening: Path) -> None:
    other = unix_socket.path_for(PORT, "another")
    assert other is not None
    other.touch()
    for _twice in range(2):
        unix_socket.remove(PORT, "s")
    assert not listening.exists() and other.exists()


def test_only_its_owner_can_open_the_folder(home: Path) -> None:
    path = unix_socket.path_for(PORT, "s")
    assert path is not None and path.parent.parent == home
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_open_is_not_used(home: Path) -> None:
    folder = home / f"labkit-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    assert unix_socket.path_for(PORT, "s") is None and unix_socket.best(ADDRESS, "s") == ADDRESS


def test_a_symbolic_link_instead_of_the_folder_is_not_followed(home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (home / f"labkit-{os.getuid()}").symlink_to(tmp_path)
    assert unix_socket.path_for(PORT, "s") is None


def test_there_is_no_socket_for_a_path_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert unix_socket.path_for(PORT, "s") is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert unix_socket.path_for(PORT, "s") is None


def test_without_a_folder_for_sockets_peers_use_the_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for unusable in (tmp_path / "missing", Path(__file__)):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(unusable))
        assert unix_socket.path_for(PORT, "s") is None
        assert unix_socket.best(ADDRESS, "s") == ADDRESS
        unix_socket.sweep()
        unix_socket.remove(PORT, "s")


def test_what_cannot_be_tried_is_not_swept_away(listening: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with replaced_here(socket, "socket", refuse):
        unix_socket.sweep()
        assert unix_socket.best(ADDRESS, "s") == ADDRESS
    assert listening.exists() and unix_socket.best(ADDRESS, "s") == f"ipc://{listening}"
