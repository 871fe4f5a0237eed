"""A bet has to be made, a checkpoint asks for this run's own figure, and sentences follow the figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labkit import charts
from labkit.charts import Guessed, is_starting, starting_bet
from labkit.classroom import Lesson, faster, gap, show
from labkit.classroom.lesson import NotYet
from labkit.core.errors import LabkitError
from labkit.support import i18n
from labkit.support.timing import Timing


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_LANG", "en")
    i18n.set_language("en")
    yield
    i18n.set_language(None)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    import IPython.display

    found: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", found.append)
    return found


def times(*medians: float) -> dict[int, Timing]:
    return {2**n: Timing((each, each * 1.01)) for n, each in enumerate(medians)}


# --- bets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measured", [0.5, 1.0, 20.0])
def test_starting_bet_is_neither_praised_nor_blamed(
    capsys: pytest.CaptureFixture[str], measured: float
) -> None:
    gap(Guessed("threads", starting_bet(1.0), Timing((measured,))))
    said = capsys.readouterr().out
    assert "You have not bet" in said and "in place of starting_bet(" in said
    assert "well guessed" not in said and "as you thought" not in said


def test_own_bet_is_judged_even_if_it_equals_the_starting_one(capsys: pytest.CaptureFixture[str]) -> None:
    gap(Guessed("threads", 1.0, Timing((1.0,))))
    assert "well guessed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (charts.guesses, ([Guessed("threads", starting_bet(1.0), Timing((1.0,)))],)),
        (charts.curve, ({"fetch": times(1, 2)}, "threads", {"guess": {1: starting_bet(1)}})),
        (charts.speed_up, ({"blur": times(1, 2)}, "threads", {"blur": {1: starting_bet(1)}})),
        (charts.waits, ({}, {"least_busy": starting_bet(0.2)})),
    ],
    ids=["bars", "a curve", "a speed-up", "waits"],
)
def test_chart_with_a_bet_that_nobody_made_says_so(
    shown: list[Any], capsys: pytest.CaptureFixture[str], draw: Any, arguments: tuple[Any, ...]
) -> None:
    show(draw, *arguments)
    assert len(shown) == 2
    assert capsys.readouterr().out.startswith("A bet here is still the lesson's own.")


def test_chart_calls_a_bet_the_learners_as_soon_as_one_number_is(
    shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    guess: dict[int, float] = {1: starting_bet(1.0), 2: starting_bet(0.5)}
    assert "starting bet" in charts.curve({"fetch": times(1, 2)}, "threads", {"guess": guess}).labkit_alt
    guess[2] = 0.7
    show(charts.curve, {"fetch": times(1, 2)}, "threads", {"guess": guess})
    assert "your guess" in shown[0].labkit_alt and capsys.readouterr().out == ""
    assert not is_starting([0.5, starting_bet(1)]) and not is_starting([])


# --- checkpoints --------------------------------------------------------------------------------------------


def test_checkpoint_without_an_answer_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    Lesson().checkpoint(1, True, None, 5.8, within=0.05)
    said = capsys.readouterr().out
    assert said.startswith("○ Checkpoint 1") and "✔" not in said


@pytest.mark.parametrize(
    ("answer", "expected", "within"),
    [
        (5.8, 5.91, 0.05),
        (1500, 1500, 0.0),
        ("8fde6e", "8fde6e0a52", 0.0),
        ("8FDE6E…", "8fde6e0a52", 0.0),
        ("moon", "moon", 0.0),
    ],
)
def test_answer_that_this_run_shows_is_right(
    capsys: pytest.CaptureFixture[str], answer: object, expected: object, within: float
) -> None:
    Lesson().checkpoint(2, True, answer, expected, within)
    assert capsys.readouterr().out == "✔ Checkpoint 2: right.\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (5.0, 5.91),
        ((5, 9), 5.91),
        ("5.9", 5.91),
        ("8fde", "8fde6e0a52"),
        ("", "moon"),
        ("coins", "moon"),
        (0, 1),
    ],
)
def test_other_answer_is_named_with_the_next_step(answer: object, expected: object) -> None:
    with pytest.raises(NotYet, match="Checkpoint 3: not yet; .*not what this run shows") as caught:
        Lesson().checkpoint(3, True, answer, expected, within=0.05)
    assert repr(answer) in str(caught.value) and isinstance(caught.value, AssertionError | LabkitError)


def test_right_answer_does_not_replace_the_work() -> None:
    with pytest.raises(AssertionError, match="not yet. Run the cells"):
        Lesson().checkpoint(1, False, 5, 5)


# --- what a run of all cells leaves -------------------------------------------------------------------------


class Opened:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_what_the_learner_is_to_play_with_stays_open_until_they_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lesson = Lesson()
    cluster = lesson.open("cluster", Opened)
    lesson.keep("cluster", until=False)
    lesson.end()
    assert not cluster.closed and capsys.readouterr().out.startswith("○ Still open, and yours: cluster")
    lesson.keep("cluster", until=True)
    lesson.end()
    assert cluster.closed and capsys.readouterr().out.startswith("✔ Nothing left behind")


# --- sentences that the figures decide ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0.5, 0.52), "with 2: 2.00 times as fast as with 1."),
        ((0.9, 1.05), "1.11 times as fast as with 1, and the spread allows no difference."),
        ((1.3, 1.4), "with 2: slower than with 1, 0.77 times as fast."),
    ],
)
def test_sentence_on_a_speed_up_follows_the_figures(
    capsys: pytest.CaptureFixture[str], other: tuple[float, ...], expected: str
) -> None:
    base = Timing((1.0, 1.0, 1.04))
    faster({1: base, 2: Timing((*other, other[0]))}, 1)
    assert expected in capsys.readouterr().out


def test_speed_up_beyond_the_cores_is_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    faster({1: Timing((1.0,)), 2: Timing((0.4,))}, 1, "blur", cores=2)
    assert "more than 2 cores can do" in capsys.readouterr().out
    i18n.set_language("es")
    faster({"sequential": Timing((1.0,)), "processes": Timing((0.94,))}, "sequential")
    assert capsys.readouterr().out == "en procesos: 1,06 veces más rápido que de una en una.\n"
