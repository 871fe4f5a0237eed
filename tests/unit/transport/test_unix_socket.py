"""The Unix socket beside a loopback port: found by those who know port and secret, and never in the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.transport import unix_socket

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
PORT = 54321
ADDRESS = f"tcp://127.0.0.1:{PORT}"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own, with a short name, in the place of the user's."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def listening() -> Iterator[Path]:
    """A socket that listens where the broker with the secret "s" would."""
    path = unix_socket.path_for(PORT, "s")
    assert path is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def test_who_knows_port_and_secret_finds_it(listening: Path) -> None:
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
def test_everybody_else_uses_the_port(listening: Path, address: str, secret: str) -> None:
    assert unix_socket.best(address, secret) == address


def test_one_that_nobody_answers_is_not_used_and_is_swept_away(listening: Path) -> None:
    left = unix_socket.path_for(PORT, "dead")
    assert left is not None
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    assert left.exists() and unix_socket.best(ADDRESS, "dead") == ADDRESS
    unix_socket.sweep()
    assert not left.exists() and listening.exists()


def test_what_cannot_be_swept_away_keeps_no_broker_from_starting(listening: Path) -> None:
    (listening.parent / "a-folder").mkdir()
    unix_socket.sweep()
    assert listening.exists()


def test_that_of_a_broker_that_has_ended_is_removed_and_no_other(listening: Path) -> None:
    other = unix_socket.path_for(PORT, "another")
    assert other is not None
    other.touch()
    for _twice in range(2):
        unix_socket.remove(PORT, "s")
    assert not listening.exists() and other.exists()


def test_the_folder_is_its_owners_alone(home: Path) -> None:
    path = unix_socket.path_for(PORT, "s")
    assert path is not None and path.parent.parent == home
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_open_is_not_used(home: Path) -> None:
    folder = home / f"labkit-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    assert unix_socket.path_for(PORT, "s") is None and unix_socket.best(ADDRESS, "s") == ADDRESS


def test_a_link_in_the_folders_place_is_not_followed(home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (home / f"labkit-{os.getuid()}").symlink_to(tmp_path)
    assert unix_socket.path_for(PORT, "s") is None


def test_a_path_that_is_too_long_for_a_socket_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert unix_socket.path_for(PORT, "s") is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert unix_socket.path_for(PORT, "s") is None
