"""The panel's widgets: they show moments and report clicks."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.panel.board import Board
from tests.tools.panel_moments import moment, worker


@pytest.fixture
def clicked() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def board(clicked: list[tuple[Any, ...]]) -> Board:
    return Board(
        lambda action, name: clicked.append((action, name)),
        lambda n: clicked.append(("scale", n)),
        lambda wanted: clicked.append(("work", wanted)),
        work=False,
    )


def test_board_shows_moments_and_reports_clicks(board: Board, clicked: list[tuple[Any, ...]]) -> None:
    board.show(moment(worker("worker-1"), worker("worker-2", process="killed")))
    board.say("a message")
    assert list(board._faces) == ["worker-1", "worker-2", "broker", "redis"]
    assert not board._buttons["worker-1", "kill"].disabled and board._buttons["worker-2", "kill"].disabled
    assert "a message" in board._said.value and board._slider.value == 2 and clicked == []
    board._buttons["worker-1", "kill"].click()
    board._slider.value = 5
    board._work.value = True
    assert clicked == [("kill", "worker-1"), ("scale", 5), ("work", True)]


def test_moved_slider_stays_until_the_cluster_has_another_size(
    board: Board, clicked: list[tuple[Any, ...]]
) -> None:
    board.show(moment(worker("worker-1")))
    board._slider.value = 3
    board.show(moment(worker("worker-1")))
    assert board._slider.value == 3
    board.show(moment(*(worker(f"worker-{n}") for n in range(1, 13))))
    assert (board._slider.value, board._slider.max) == (12, 12)
    assert clicked == [("scale", 3)]


def test_remaining_cards_keep_their_widgets_when_others_change(board: Board) -> None:
    board.show(moment(worker("worker-1"), worker("worker-2")))
    before = board._faces["worker-1"], board._cards.children[0]
    board.show(moment(worker("worker-1"), worker("worker-3")))
    assert (board._faces["worker-1"], board._cards.children[0]) == before
    assert "worker-2" not in board._faces and ("worker-2", "kill") not in board._buttons
    assert len(board._cards.children) == 4


def test_every_control_has_a_label_and_a_tooltip(board: Board) -> None:
    board.show(moment(worker()))
    for button in board._buttons.values():
        assert button.description and button.tooltip
    assert board._slider.description and board._work.description and board._work.tooltip


def test_closed_board_shows_the_reason_and_disables_its_controls(board: Board) -> None:
    board.show(moment(worker()))
    board.close("the cluster has gone")
    assert "the cluster has gone" in board._beat.value and "lk-closed" in board._beat.value
    assert all(button.disabled for button in board._buttons.values()) and board._slider.disabled
