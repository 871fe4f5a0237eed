"""What the notebooks import: lessons, a race condition and its fix, one sentence on a guess."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labkit.charts import Guessed, curve, pictures
from labkit.charts.draw_guess import NotAGuess
from labkit.classroom import Lesson, begin, check_machine, gap, race, show, source
from labkit.classroom import lesson as lesson_module
from labkit.classroom.amdahl import HEIGHT, WIDTH, open_and_filter
from labkit.classroom.error_display import translated
from labkit.classroom.lesson import LeftBehind
from labkit.cli import output
from labkit.core.errors import N_, TaskFailed
from labkit.executors import SequentialExecutor
from labkit.imaging import photos
from labkit.imaging.filters import parse_steps
from labkit.support import i18n
from labkit.support.timing import Timing, in_threads
from tests.tools.waiting import wait_until


@pytest.fixture(autouse=True)
def language_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_LANG", "en")
    yield
    i18n.set_language(None)
    output.typed_in(None)


# --- lessons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "word"), [("es", "núcleo"), ("en", "core")])
def test_lesson_and_its_processes_use_the_lessons_language(
    capsys: pytest.CaptureFixture[str], lang: str, word: str
) -> None:
    begin(lang)
    assert word in capsys.readouterr().out
    assert (i18n.language(), os.environ["LABKIT_LANG"]) == (lang, lang)


def test_checkpoint_prints_one_line_or_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    lesson = Lesson()
    lesson.checkpoint(2, [1])
    assert capsys.readouterr().out == "✔ Checkpoint 2: right.\n"
    with pytest.raises(AssertionError, match="Checkpoint 3: not yet"):
        lesson.checkpoint(3, [])


def test_lesson_that_closed_everything_ends(capsys: pytest.CaptureFixture[str]) -> None:
    lesson = Lesson()
    with socket.create_server(("127.0.0.1", 0)):
        pass
    in_threads(2, abs, [1, 2])
    lesson.end()
    assert "Nothing left behind" in capsys.readouterr().out


@contextlib.contextmanager
def left_behind() -> Iterator[tuple[int, int]]:
    """Leave a thread called "forgotten", a process and a listening port; yield pid and port. End them."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="forgotten")
    thread.start()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield child.pid, listener.getsockname()[1]
    finally:
        go.set()
        thread.join()
        child.communicate(b"\n")


def test_lesson_end_names_what_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_module, "END_S", 0.2)
    lesson = Lesson()
    with left_behind() as (pid, port), pytest.raises(LeftBehind) as caught:
        lesson.end()
    error = str(caught.value)
    assert "thread forgotten" in error and f"process {pid}" in error and f"port {port}" in error
    lesson.end()


class Opened:
    """Something that a lesson opens."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, 0

    def close(self) -> None:
        self.closed += 1


def test_rerun_cell_closes_only_what_it_had_opened() -> None:
    lesson = Lesson()
    first, other = lesson.open("cluster", Opened, "first"), lesson.open("empty", Opened, "other")
    second = lesson.open("cluster", Opened, name="second")
    assert (first.closed, other.closed, second.closed) == (1, 0, 0)
    begin("en")
    assert (first.closed, other.closed, second.closed) == (1, 1, 1)


def test_rerun_cell_closes_the_old_object_before_opening_a_new_one() -> None:
    def open_other() -> Opened:
        assert first.closed == 1
        return Opened("other")

    lesson = Lesson()
    first = lesson.open("cluster", Opened, "first")
    lesson.open("cluster", open_other)
    pool = lesson.open("cluster", SequentialExecutor)
    begin("en")
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, -1)


def test_lesson_does_not_touch_the_learners_own_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/0")
    monkeypatch.setenv("LABKIT_CONTROL", "/control")
    begin("en")
    assert os.environ["REDIS_URL"], "in the lab container it is the stack's own"
    monkeypatch.delenv("LABKIT_CONTROL")
    begin("en")
    assert "REDIS_URL" not in os.environ


def test_leftovers_are_named_in_the_lessons_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_module, "END_S", 0.2)
    lesson = begin("es")
    with left_behind() as (pid, port), pytest.raises(LeftBehind) as caught:
        lesson.end()
    error = i18n.translate_error(caught.value)
    assert "hilo forgotten" in error and f"proceso {pid}" in error and f"puerto {port}" in error
    assert not {"process", "thread", "port"} & set(error.replace("(", " ").split())


# --- errors -------------------------------------------------------------------------------------------------


def test_error_is_shown_in_the_readers_language_with_the_usual_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "prefix", str(output.ROOT / ".venv"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    output.typed_in(output.ROOT)
    with pytest.raises(TaskFailed) as caught:
        raise TaskFailed(
            N_("the broker is down; python -m labkit start broker{option}"), option="", traceback="far away"
        ) from KeyError("why")
    caught.value.add_note("a note")
    i18n.set_language("es")
    told = translated(caught.value)
    assert str(told) in (
        "el broker está caído; python3 lab.py start broker",
        "el broker está caído; py lab.py start broker",
    )
    assert isinstance(told, TaskFailed) and told.remote_traceback == "far away"
    assert repr(told.__cause__) == "KeyError('why')" and told.__notes__ == ["a note"]
    assert told.__traceback__ is caught.tb
    assert str(caught.value) == "the broker is down; python -m labkit start broker"


def test_lesson_end_waits_for_processes_that_are_ending() -> None:
    lesson = Lesson()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    wait_until(lambda: any(str(child.pid) in left for left in lesson_module._left_behind()))
    child.stdin.close()
    lesson.end()
    child.wait()


def test_processes_older_than_the_lesson_are_not_leftovers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        Lesson().end()
    assert capsys.readouterr().out


def test_machine_check_uses_the_readers_language(capsys: pytest.CaptureFixture[str]) -> None:
    check_machine("es")
    said = capsys.readouterr().out
    assert "núcleos" in said and "FAILS" not in said


# --- the race -----------------------------------------------------------------------------------------------


def test_slow_motion_always_loses_one_of_two_additions() -> None:
    for _time in range(20):
        table = race.slow_motion()
        assert [row[1:] for row in table.rows] == [
            ("A", "reads 0", 0),
            ("B", "reads 0", 0),
            ("A", "writes 1", 1),
            ("B", "writes 1", 1),
        ]


def test_broken_counter_loses_additions_but_never_adds_any() -> None:
    assert race.add_together(race.Counter(), threads=4, times=2000) < 8000


def test_fixed_counter_loses_no_addition() -> None:
    assert race.add_together(race.SafeCounter(), threads=4, times=500) == 2000


def test_single_thread_loses_nothing_without_a_lock() -> None:
    assert race.add_together(race.Counter(), threads=1, times=100) == 100


# --- what a cell shows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guess", "expected"),
    [
        (None, "you did not guess"),
        (1.05, "well guessed"),
        (2.0, "2.0 times as fast as you thought"),
        (0.25, "4.0 times as slow as you thought"),
        (0.0, "no work takes no time"),
    ],
)
def test_gap_between_guess_and_measurement_is_one_sentence(
    capsys: pytest.CaptureFixture[str], guess: float | None, expected: str
) -> None:
    gap(Guessed("threads", guess, Timing((1.0,))))
    said = capsys.readouterr().out
    assert said.startswith("in threads: ") and expected in said and said.count("\n") == 1


@pytest.mark.parametrize("guess", ["abc", -1, (1, 5), float("nan"), float("inf"), 1j])
def test_invalid_guess_is_refused_with_an_explanation(guess: Any) -> None:
    with pytest.raises(NotAGuess, match="a guess is a number, zero or more.*; this one is "):
        Guessed("threads", guess, Timing((1.0,)))
    with pytest.raises(NotAGuess, match="a guess is a number"):
        curve({"fetch": {1: Timing((1.0,))}}, "threads", {"guess": {1: guess}})


def test_source_is_shown_without_indentation(capsys: pytest.CaptureFixture[str]) -> None:
    source(race.Counter.add)
    assert capsys.readouterr().out.startswith("def add(self)")


def test_chart_is_shown_with_its_table_below(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display

    shown: list[object] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    show(pictures, {"grey": np.zeros((4, 6), np.uint8)})
    chart, table = shown
    assert repr(chart) == "Pictures: grey."
    assert str(table).split() == ["picture", "width", "height", "grey", "6", "4"]


# --- Amdahl's example ---------------------------------------------------------------------------------------


def test_splitting_into_groups_keeps_pixels_and_order() -> None:
    files = [photo.bytes() for photo in photos.bundled()[:3]]
    steps = parse_steps(["brightness"])
    with SequentialExecutor() as pool:
        results = [open_and_filter(pool, files, steps, groups) for groups in (1, 2, 5)]
    assert all(image.shape == (HEIGHT, WIDTH, 3) for image in results[0])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_first_cell_prints_nothing_about_fonts() -> None:
    code = (
        "import logging, sys; import labkit.classroom; assert 'matplotlib' in sys.modules;"
        "logging.getLogger('matplotlib.font_manager').warning('Matplotlib is building the font cache')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
