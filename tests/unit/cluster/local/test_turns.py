"""Starters of clusters choose their ports one after the other."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labkit.cluster.local.backend import LocalBackend
from labkit.cluster.local.start import PORT_TAKEN, _found_port_taken
from labkit.cluster.local.turns import LOCK, turn


def test_the_second_starter_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with turn(tmp_path) as held:
            order.append(f"second {held}")

    with turn(tmp_path) as held:
        assert held
        waiting = threading.Thread(target=second)
        waiting.start()
        with turn(tmp_path, patience_s=0.2) as third:
            assert not third, "it goes on without its turn"
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second True"]


def test_a_home_that_cannot_be_written_keeps_no_cluster_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with turn(tmp_path / "file") as held:
        assert not held
    (tmp_path / LOCK).mkdir()
    with turn(tmp_path) as held:
        assert not held


@pytest.mark.parametrize(
    ("kind", "last_exit", "short_lives", "in_use", "taken"),
    [
        ("broker", PORT_TAKEN, 1, False, True),
        ("broker", "exit 1", 3, True, False),
        ("redis", "exit 1", 3, True, True),
        ("redis", "exit 1", 3, False, False),
        ("redis", "", 0, True, False),
        ("worker", PORT_TAKEN, 3, True, False),
    ],
)
def test_a_start_is_tried_again_when_a_port_was_taken_meanwhile(
    kind: str, last_exit: str, short_lives: int, in_use: bool, taken: bool
) -> None:
    row: dict[str, Any] = {"kind": kind, "last_exit": last_exit, "short_lives": short_lives}
    backend = cast(LocalBackend, SimpleNamespace(status=lambda: {"processes": [row]}))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        if in_use:
            other.listen(1)
        else:
            other.close()
        assert _found_port_taken(backend, {"redis": port}) is taken
