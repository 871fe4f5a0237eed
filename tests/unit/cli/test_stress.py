"""What ``stress`` prints: one sentence that says what the figures mean, and the live lines."""

from __future__ import annotations

import pytest

from labkit.cli.parser import Parser
from labkit.cli.stress import USUAL, _load, configure
from labkit.cli.stress_output import Live, inconclusive, live_lines, ramp_sentence, sentence
from labkit.core.errors import LabkitError
from labkit.load.arrivals import PATTERNS, Load
from labkit.load.planner import Planner
from labkit.load.ramp import Ramp
from labkit.load.report import Outcome, Report, report
from labkit.support import i18n


def figures(
    waiting_s: float = 0.01, task_s: float = 0.1, every_s: float = 0.1, late_s: float = 0.0
) -> Report:
    outcomes = [
        Outcome(n * 0.1, n * 0.1 + late_s, n * every_s + late_s + waiting_s + task_s, task_s, f"w-{n % 2}")
        for n in range(50)
    ]
    return report(outcomes, 5.0)


def failed(errors: int, of: int = 50) -> Report:
    outcomes = [Outcome(n * 0.1, n * 0.1, n * 0.1 + 0.2, 0.1, "w") for n in range(of - errors)]
    outcomes += [Outcome(n * 0.1, n * 0.1, n * 0.1 + 0.3, None, "", "TaskHung") for n in range(errors)]
    return report(outcomes, 5.0)


def test_a_cluster_that_keeps_up_is_called_so() -> None:
    assert sentence(figures()) == "The cluster kept up with 10.0 tasks/s: 95 % of them waited at most 10 ms."


def test_a_cluster_that_does_not_keep_up_is_called_so() -> None:
    text = sentence(figures(every_s=0.3))
    assert text.startswith("The cluster did not keep up: it did 3.") and "queue grew" in text


def test_tasks_without_a_result_are_in_the_sentence() -> None:
    assert "but 3 of 50 tasks have no result" in sentence(failed(3))
    assert "20 of 50 tasks have no result" in sentence(failed(20))
    assert sentence(failed(50)) == "No task has a result."


def test_a_late_generator_makes_it_inconclusive() -> None:
    late = figures(late_s=0.3)
    assert not late.on_time
    assert sentence(late) == inconclusive(late) != ""
    assert sentence(late).startswith("Inconclusive: this machine") and "0.30 s late" in sentence(late)


def test_an_interrupted_load_says_so() -> None:
    assert sentence(figures(), interrupted=True).startswith("Interrupted; until then: the cluster kept up")


def test_spanish_sentences_have_a_decimal_comma() -> None:
    i18n.set_language("es")
    assert sentence(figures()).startswith("El clúster dio abasto con 10,0 tareas/s")
    assert "0,30 s" in sentence(figures(late_s=0.3))


def test_a_ramp_names_the_knee_or_says_why_there_is_none() -> None:
    search = Ramp(10.0, 0.5)
    assert search.take(10.0, figures()) and not search.take(15.0, figures(waiting_s=0.6))
    assert ramp_sentence(search) == (
        "The knee is at 10.0 tasks/s: up to there 95 % of the tasks wait at most 0.50 s, at 15.0 tasks/s no "
        "longer."
    )
    slow = Ramp(10.0, 0.5)
    assert slow.take(10.0, figures()) and not slow.take(15.0, figures()._replace(achieved=1.0))
    assert ramp_sentence(slow).endswith("at 15.0 tasks/s the cluster does not keep up."), (
        "nobody waited too long"
    )
    search.take(12.0, figures(late_s=1.0))
    assert ramp_sentence(search).startswith("Inconclusive") and "10.0 tasks/s" in ramp_sentence(search)
    none = Ramp(10.0, 0.001)
    none.take(10.0, figures())
    assert ramp_sentence(none) == "At no rate did 95 % of the tasks wait at most 1 ms."
    assert ramp_sentence(Ramp(10.0, 0.5), interrupted=True).startswith("Interrupted before the first rate")
    unbroken = Ramp(10.0, 0.5)
    unbroken.take(10.0, figures())
    assert "every rate that was tried" in ramp_sentence(unbroken, interrupted=True)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_has_a_usual_load(pattern: str) -> None:
    rate, seconds = USUAL[pattern]
    assert Load(pattern, rate, seconds).arrivals()


def test_the_live_lines_show_the_last_seconds() -> None:
    planner = Planner([0.0, 0.5, 1.0, 9.0], 10.0)
    for number in planner.due(1.0):
        planner.ended(number, 1.5, 0.1, "w", "" if number else "TaskHung")
    first, second = live_lines(planner, 2.0)
    assert first == "2 s: 3 of 4 tasks sent, 0 under way, 2 done, 1 failed"
    assert second.startswith("last 2 s: 1.0 results/s, waiting p50 0.40 s")


def test_without_a_terminal_nothing_is_live(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(shown=True) as live:
        live.watch(Planner([0.0], 1.0), 0.0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--tasks 100000000", "100000000 tasks are too many"),
        ("--tasks 100000000 --seconds 1", "100000000 tasks are too many"),
        ("--rate 10 --seconds 7200", "a load of 7200 s is too long; at most 3600"),
        ("--tasks 0 --seconds 5", "0 tasks are no load"),
    ],
)
def test_numbers_that_are_too_much_are_refused_in_the_right_words(words: str, why: str) -> None:
    parser = Parser(prog="stress")
    configure("stress", parser)
    with pytest.raises(LabkitError) as refused:
        _load(parser.parse_args(["simple", *words.split()]))
    assert why in i18n.translate_error(refused.value)
