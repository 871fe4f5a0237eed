"""Verdicts, the list and the progress, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cli import main
from labkit.core.errors import LabkitError
from labkit.practice import screen
from labkit.practice.check import SIMULATED
from labkit.practice.exercise import Exercise, catalogue, find
from labkit.practice.progress import Standing
from labkit.practice.session import Practice
from labkit.practice.verdict import Kind, Verdict
from labkit.support.i18n import set_language

FAILED = Verdict(
    "double",
    Kind.FAIL,
    stage="simulated",
    code="raised",
    seed=4,
    expected="{function} returns without an exception",
    happened="it ended with an exception: {error}",
    advice="Read the last of these lines: there it happened.",
    params={"function": "double", "error": "KeyError: 'x'"},
    learner_lines=("ex97_double.py, line 2: a()", "ex97_double.py, line 7: return {}['x']"),
    timeline=tuple(f"event {number}" for number in range(30)),
    output="\n".join(f"printed {number}" for number in range(30)),
)


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    yield
    set_language(None)


def shown(exercise: Exercise, verdict: Verdict) -> list[str]:
    return [line.text for line in screen.verdict_lines(exercise, verdict)]


def test_a_failure_tells_what_was_expected_what_happened_where_and_what_to_try(exercise: Exercise) -> None:
    set_language("en")
    lines = shown(exercise, FAILED)
    assert lines[:6] == [
        "✗ 97 · Twice: not yet",
        "expected   double returns without an exception",
        "happened   it ended with an exception: KeyError: 'x'",
        "when       with seed 4; python -m labkit practice check double --seed 4 repeats it",
        "where      ex97_double.py, line 2: a()",
        "           ex97_double.py, line 7: return {}['x']",
    ]
    assert lines[6].startswith("try        Read the last")
    assert lines[7] == "printed    printed 24" and "           printed 29" in lines
    assert sum(line.startswith("event") for line in lines) == screen.TIMELINE_LINES


def test_a_phrase_among_the_parameters_is_translated_and_a_learners_text_is_not(exercise: Exercise) -> None:
    set_language("es")
    params = {"label": LabkitError("holds the GIL"), "answer": "holds the GIL"}
    verdict = Verdict("double", Kind.FAIL, expected="{label}", happened="{answer!r}", params=params)
    lines = shown(exercise, verdict)
    assert lines[1:3] == ["esperado   retiene el GIL", "ocurrió    'holds the GIL'"]
    assert verdict.as_json()["expected"] == "holds the GIL"


def test_the_same_in_spanish(exercise: Exercise) -> None:
    set_language("es")
    lines = shown(exercise, FAILED)
    assert lines[0] == "✗ 97 · El doble: todavía no"
    assert lines[1] == "esperado   double regresa sin excepción"
    assert lines[2] == "ocurrió    terminó con una excepción: KeyError: 'x'"
    assert lines[3].startswith("cuándo     con la semilla 4;")
    assert lines[4] == "dónde      ex97_double.py, línea 2: a()"
    assert lines[6].startswith("prueba     ")


@pytest.mark.parametrize(("language", "words"), [("en", "passed"), ("es", "aprobado")])
def test_a_pass_is_one_line(exercise: Exercise, language: str, words: str) -> None:
    set_language(language)
    (line,) = screen.verdict_lines(exercise, Verdict("double", Kind.PASS, output="x"))
    assert line.role == screen.GOOD and line.text.endswith(words)


def test_an_inconclusive_one_is_marked_as_neither(exercise: Exercise) -> None:
    set_language("en")
    verdict = Verdict("double", Kind.INCONCLUSIVE, stage="real", happened="too busy", advice="again")
    lines = screen.verdict_lines(exercise, verdict)
    assert lines[0] == screen.Line(screen.UNSURE, "? 97 · Twice: inconclusive")
    assert [line.text for line in lines[1:]] == [
        "happened   too busy",
        "when       on real processes",
        "try        again",
    ]


def test_long_lines_break_between_words_and_below_their_text() -> None:
    line = screen.Line(screen.LABELLED, "happened   one two three four")
    assert screen.wrapped(line, 21) == "happened   one two\n           three four"
    assert screen.wrapped(screen.Line(screen.PLAIN, "a bcd"), 4) == "a\nbcd"
    assert screen.wrapped(screen.Line(screen.PLAIN, "    indented"), 40) == "    indented"
    assert screen.wrapped(screen.Line(screen.PLAIN, ""), 40) == ""
    assert screen.wrapped(screen.Line(screen.CODE, "1   2   3   4"), 5) == "1   2   3   4"


def test_the_list_marks_what_is_passed_and_what_was_tried(exercise: Exercise) -> None:
    set_language("en")
    for standing, mark in ((Standing(passed=True), "✓"), (Standing(attempts=2), "·"), (Standing(), " ")):
        day, line = screen.list_lines([exercise], {"double": standing})
        assert day.text == "Day 3"
        assert line.text == f"  {mark} 97  double   5 min  Twice"


@pytest.mark.parametrize(("language", "words"), [("en", "1 of 1 exercise"), ("es", "1 de 1 ejercicio")])
def test_progress_is_a_bar_and_a_count(exercise: Exercise, language: str, words: str) -> None:
    set_language(language)
    bar = screen.progress_line([exercise], {"double": Standing(passed=True)}).text
    assert bar == "■" * screen.BAR + " " + words
    assert screen.progress_line([exercise], {}).text.startswith("□" * screen.BAR)


def test_the_list_has_one_heading_per_day_wherever_an_exercise_was_added() -> None:
    headings = [line.text for line in screen.list_lines(catalogue(), {}) if line.role == screen.TITLE]
    assert len(headings) == len(set(headings)) == 4


def test_the_next_exercise_goes_by_number_so_that_those_beyond_the_twenty_come_last() -> None:
    exercises = catalogue()
    passed = {one.id: Standing(passed=True) for one in exercises if one.number <= 15}
    following = screen.next_exercise(exercises, passed)
    assert following is not None and following.number == 16


def test_each_pass_of_the_whole_catalogue_fills_one_box_more() -> None:
    exercises = catalogue()
    bars = [
        screen.progress_line(exercises, {one.id: Standing(passed=True) for one in exercises[:passed]}).text
        for passed in range(len(exercises) + 1)
    ]
    assert [bar.count("■") for bar in bars] == list(range(len(exercises) + 1))
    assert {bar.count("■") + bar.count("□") for bar in bars} == {len(exercises)}


def test_a_part_that_passes_says_that_it_is_no_pass(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_language("en")
    requeue = find("requeue")
    code = "def after_loss(held, waiting):\n    return held + waiting\n"
    (root / "work" / f"{requeue.module}.py").write_text(code)
    practice = Practice(root)
    verdict = practice.check(requeue, (SIMULATED,), range(3, 4))
    assert verdict.passed and not practice.standings()
    assert [line.text for line in screen.verdict_lines(requeue, verdict)][1:] == [
        "note       only a part was checked; a check of everything counts"
    ]
    monkeypatch.setenv("LABKIT_WORK", str(root))
    assert main(["practice", "check", "requeue", "--seed", "3"]) == 0
    assert "practice check requeue   check again" in capsys.readouterr().out
