"""The benchmark's arithmetic, its verdicts and its table; and one small run of every measurement (slow)."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import Any

import pytest

import benchmarks
from benchmarks import INCONCLUSIVE, MISS, PASS, BenchFailed, Figure, Section, Target, table
from benchmarks.figures import TIMES, interval_of_median, rates, ratios
from benchmarks.kill import Kill, kills
from benchmarks.pictures import require_equal, resized_photos
from benchmarks.scheduler_cost import TASKS_PER_TURN, Bench
from benchmarks.setup import Setup, alternate, usual_workers
from labkit.core import history as h
from labkit.core.errors import InvalidInput
from labkit.core.history import Event

FASTER = Target(3.0, goal=10.0)
SOONER = Target(0.1, at_most=True)


# --- figures ---


@pytest.mark.parametrize(
    ("target", "values", "verdict"),
    [
        (FASTER, [3.0, 4.0, 12.0], PASS),
        (FASTER, [1.0, 2.9], MISS),
        (FASTER, [2.9, 3.0, 3.1], INCONCLUSIVE),
        (SOONER, [0.003, 0.1], PASS),
        (SOONER, [0.11, 2.0], MISS),
        (SOONER, [0.09, 0.11], INCONCLUSIVE),
        (SOONER, [0.2], MISS),
    ],
)
def test_up_to_five_rounds_a_verdict_is_what_all_of_them_agree_about(
    target: Target, values: list[float], verdict: str
) -> None:
    assert Figure("name", "label", values, "s", target).verdict == verdict


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target(2.0), PASS),
        (Target(2.5), INCONCLUSIVE),
        (Target(8.0), INCONCLUSIVE),
        (Target(8.5), MISS),
        (Target(8.0, at_most=True), PASS),
        (Target(7.5, at_most=True), INCONCLUSIVE),
        (Target(2.0, at_most=True), INCONCLUSIVE),
        (Target(1.5, at_most=True), MISS),
    ],
)
def test_with_more_rounds_one_bad_round_and_one_good_round_decide_nothing(
    target: Target, verdict: str
) -> None:
    # Nine rounds: the interval reaches from the second lowest to the second highest.
    values = [-1000.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1000.0]
    assert Figure("name", "label", values, "s", target).verdict == verdict


def rounds(n: int) -> list[float]:
    """1 to n, each value its own rank, in another order."""
    return [float(value) for value in range(n, 0, -1)]


@pytest.mark.parametrize(
    ("n", "interval"),
    [
        (1, (1, 1, 0)),
        (2, (1, 2, 1 - 2 / 4)),
        (4, (1, 4, 1 - 2 / 16)),
        (5, (1, 5, 1 - 2 / 32)),
        # The second lowest of 8 would be too high with (1 + 8) / 256, which is more than 1 / 32 ...
        (8, (1, 8, 1 - 2 / 256)),
        # ... that of 9 with (1 + 9) / 512, which is less; the third with (1 + 9 + 36) / 512, which is more.
        (9, (2, 8, 1 - 2 * 10 / 512)),
        # As in printed tables of the binomial distribution:
        (14, (4, 11, pytest.approx(0.943, abs=0.0005))),
        (20, (6, 15, pytest.approx(0.959, abs=0.0005))),
    ],
)
def test_the_interval_of_the_median_is_counted_off_by_the_binomial_distribution(
    n: int, interval: tuple[float, float, float]
) -> None:
    assert interval_of_median(rounds(n)) == interval


def test_more_rounds_count_off_more_on_both_sides_alike_and_keep_their_confidence() -> None:
    intervals = {n: interval_of_median(rounds(n)) for n in range(1, 200)}
    for n, (low, high, confidence) in intervals.items():
        assert low - 1 == n - high, "the interval lies in the middle"
        assert n < 5 or 0.9375 <= confidence < 1
    lows = [low for low, _high, _confidence in intervals.values()]
    assert lows == sorted(lows) and max(after - before for before, after in pairwise(lows)) == 1
    spans = [(high - low) / n for n, (low, high, _confidence) in intervals.items()]
    assert [round(spans[n - 1], 2) for n in (5, 20, 80, 164)] == [0.8, 0.45, 0.21, 0.15]


def test_the_interval_misses_the_true_median_as_seldom_as_it_says() -> None:
    # Every way in which ten rounds can lie below (-1) or above (1) a median of 0, each as likely as the next.
    intervals = [interval_of_median(values) for values in product((-1.0, 1.0), repeat=10)]
    missed = [low > 0 or high < 0 for low, high, _confidence in intervals]
    assert 1 - sum(missed) / len(missed) == interval_of_median(rounds(10)).confidence


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert Figure("name", "label", [1.0], "s").verdict is None


def test_a_figure_is_told_as_its_median_and_its_extremes() -> None:
    assert Figure("name", "label", [5.0, 1.0, 2.0], "s").spread == (2.0, 1.0, 5.0)


def test_a_figure_of_nothing_is_refused() -> None:
    with pytest.raises(BenchFailed, match="again has no value"):
        Figure("again", "label", [], "s")


def test_a_ratio_is_taken_within_each_round() -> None:
    # Both took twice as long in the second round: what slows a whole round down is not in the ratio.
    assert ratios([10.0, 20.0], [5.0, 10.0]) == [2.0, 2.0]


def test_a_rate_is_the_batch_divided_by_its_time() -> None:
    assert rates(100, [0.5, 2.0]) == [200.0, 50.0]


# --- how it is measured ---


def test_the_measured_take_turns_after_one_turn_that_does_not_count() -> None:
    calls: list[str] = []

    def measured(name: str) -> int:
        calls.append(name)
        return len(calls)

    returned = alternate(2, lambda: measured("a"), lambda: measured("b"))
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert returned == [[3, 5], [4, 6]]
    assert alternate(1, lambda: measured("c"), warm=True) == [[7]]


def test_no_more_workers_than_cores_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.setup.cores", lambda: 2)
    assert usual_workers() == 2
    monkeypatch.setattr("benchmarks.setup.cores", lambda: 64)
    assert usual_workers() == 3


# --- kills, told by a history ---


def fault(at: float, target: str) -> Event:
    return Event(at, h.FAULT, detail={"fault": "kill", "target": target})


def test_a_kill_counts_until_the_last_of_its_tasks_is_sent_again() -> None:
    events = [
        Event(0.5, h.DISPATCHED, "t1", 1, "worker-1"),
        fault(1.0, "worker-1"),
        Event(1.25, h.LOST, worker="worker-1", detail={"cause": "closed"}),
        Event(1.25, h.REQUEUED, "t2", 1, "worker-1", {"cause": "lost"}),
        Event(1.25, h.REQUEUED, "t1", 1, "worker-1", {"cause": "lost"}),
        Event(1.25, h.DISPATCHED, "t1", 2, "worker-2"),
        Event(1.50, h.DISPATCHED, "t9", 1, "worker-3"),
        Event(1.75, h.DISPATCHED, "t2", 2, "worker-3"),
        Event(2.0, h.DISPATCHED, "t2", 3, "worker-3"),
    ]
    assert kills(events) == [Kill(0.25, 0.75)]


def test_a_kill_that_hit_no_task_is_left_out() -> None:
    idle = [
        fault(1.0, "worker-1"),
        Event(1.25, h.LOST, worker="worker-1", detail={"cause": "closed"}),
        Event(1.5, h.DISPATCHED, "t1", 1, "worker-2"),
    ]
    busy = [
        fault(2.0, "worker-2"),
        Event(2.5, h.LOST, worker="worker-2", detail={"cause": "closed"}),
        Event(2.5, h.REQUEUED, "t1", 1, "worker-2", {"cause": "lost"}),
        Event(3.0, h.DISPATCHED, "t1", 2, "worker-1"),
    ]
    assert kills([*idle, *busy]) == [Kill(0.5, 1.0)]


def test_other_faults_and_losses_are_no_kills() -> None:
    assert kills([Event(1.0, h.FAULT, detail={"fault": "pause", "target": "worker-1"})]) == []
    assert kills([Event(1.0, h.LOST, worker="worker-1", detail={"cause": "closed"})]) == []


# --- photos ---


def test_photos_are_cut_and_scaled_to_colour_arrays_of_one_size() -> None:
    pictures = resized_photos(64, 36, 20)
    assert {picture.shape for picture in pictures} == {(36, 64, 3)}
    assert len(pictures) == 20
    assert len({picture.tobytes() for picture in pictures}) > 3


def test_an_engine_with_other_pixels_is_not_compared() -> None:
    pictures = resized_photos(8, 8, 2)
    require_equal("labkit", pictures, list(pictures))
    with pytest.raises(BenchFailed, match="labkit gave other pixels"):
        require_equal("labkit", pictures, [pictures[0], 255 - pictures[1]])
    with pytest.raises(BenchFailed, match="labkit gave other pixels"):
        require_equal("labkit", pictures[:1], pictures)


# --- the scheduler ---


@pytest.mark.parametrize(("workers", "queued"), [(3, 100), (40, 100), (40, 3000)])
def test_tasks_flow_through_while_the_queue_keeps_its_length(workers: int, queued: int) -> None:
    bench = Bench(workers, queued)
    assert len(bench.scheduler.queue) == queued
    held = len(bench.scheduler.tasks) - queued
    assert held >= TASKS_PER_TURN  # a whole turn's work, with the fewest workers too
    assert bench.run(500) > 0
    assert len(bench.scheduler.queue) == pytest.approx(queued, abs=2 * TASKS_PER_TURN)
    assert len(bench.scheduler.workers) == workers


# --- what is printed ---


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00297, "0.00297"), (1.5, "1.50"), (12.34, "12.3"), (123.4, "123"), (41234.5, "41234")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert table.number(value) == text


SECTION = Section(
    [
        Figure("map.ratio", "map: labkit / PPE", [2.0, 4.0, 12.0], TIMES, FASTER),
        Figure("again", "again", [0.25], "s", SOONER),
        Figure("idle", "idle", [85.5], "MiB"),
    ],
    ["how it was done"],
    {"tasks_per_batch": 800},
)


def test_the_table_has_a_line_per_figure_and_says_how_it_was_measured() -> None:
    assert [" ".join(row.split()) for row in table.rows(SECTION)] == [
        "map: labkit / PPE 4.00 x 2.00 - 12.0 >= 3 (10): inconclusive",
        "again 0.250 s 0.250 - 0.250 <= 0.1: miss",
        "idle 85.5 MiB 85.5 - 85.5",
        "(how it was done)",
    ]


def test_the_table_shows_the_interval_that_the_verdict_is_about() -> None:
    [row] = table.rows(Section([Figure("many", "many", [0.1, *rounds(7), 99.0], "s", Target(0.5))]))
    assert " ".join(row.split()) == "many 4.00 s 1.00 - 7.00 >= 0.5: pass"


def test_the_heading_says_what_all_figures_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "cores", lambda: 7)
    monkeypatch.setattr(table, "load_per_core", lambda: 2.5)
    text = "\n".join(table.heading(Setup(5, 3)))
    assert "7 cores, Python 3." in text and "3 workers" in text and "5 rounds" in text
    assert "load 2.5 per core" in text
    monkeypatch.setattr(table, "load_per_core", lambda: 0.1)
    assert "busy" not in "\n".join(table.heading(Setup(5, 3)))


def test_the_json_document_has_every_value() -> None:
    document = json.loads(json.dumps(table.as_json(Setup(3, 2, quick=True), {"tiny": SECTION})))
    assert (document["workers"], document["rounds"], document["quick"]) == (2, 3, True)
    assert document["measurements"]["tiny"]["tasks_per_batch"] == 800
    figures = document["measurements"]["tiny"]["figures"]
    assert figures["map.ratio"] == {
        "median": 4.0, "lowest": 2.0, "highest": 12.0,
        "interval_of_median": {"low": 2.0, "high": 12.0, "confidence": 0.75},
        "values": [2.0, 4.0, 12.0], "unit": "ratio",
        "target": {"at_least": 3.0, "goal": 10.0}, "verdict": "inconclusive",
    }  # fmt: skip
    assert figures["idle"]["target"] is None and figures["idle"]["verdict"] is None


# --- the command ---


class Measured:
    """Stands for a measurement's module."""

    TITLE = "what is measured"

    def __init__(self) -> None:
        self.setups: list[Setup] = []

    def measure(self, setup: Setup) -> Section:
        self.setups.append(setup)
        return SECTION


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    module = Measured()
    monkeypatch.setattr(benchmarks, "import_module", lambda _name: module)
    return module


def test_everything_is_measured_unless_it_is_said_otherwise(
    measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main([]) == 0
    assert measured.setups == [Setup(benchmarks.ROUNDS, usual_workers())] * len(benchmarks.MEASUREMENTS)
    printed = capsys.readouterr().out
    assert all(f"\n{name}: what is measured\n" in printed for name in benchmarks.MEASUREMENTS)


def test_only_the_named_ones_are_measured_and_json_is_all_that_is_printed(
    measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(["--only", "kill", "tiny", "--quick", "--rounds", "4", "--json"]) == 0
    assert measured.setups == [Setup(4, usual_workers(), quick=True)] * 2
    assert list(json.loads(capsys.readouterr().out)["measurements"]) == ["tiny", "kill"]


def test_a_missed_target_is_a_failure_only_if_one_asks_for_it(
    measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(["--only", "tiny"]) == 0
    assert benchmarks.main(["--only", "tiny", "--strict"]) == 1


@pytest.mark.parametrize(
    "words", [["--only", "speed"], ["--rounds", "0"], ["--rounds", "x"], ["--rounds"], ["now"]], ids=str
)
def test_options_that_are_not_understood_measure_nothing(measured: Measured, words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="bench --help shows what is possible"):
        benchmarks.main(words)
    assert not measured.setups


def test_help_names_every_measurement(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in benchmarks.MEASUREMENTS)
    assert not measured.setups


# --- one small run of each ---

SHRUNK: dict[str, Any] = {
    "benchmarks.tiny.QUICK_TASKS": 50,
    "benchmarks.round_trip.QUICK_CALLS": 20,
    "benchmarks.pictures.SIZES": {
        "512": ((64, 64), 2, 2, Target(1.2)),
        "4K": ((128, 72), 2, 2, Target(1.3)),
    },
    "benchmarks.kill.KILLS_PER_ROUND": 1,
    "benchmarks.memory.QUEUED": 200,
    "benchmarks.gateway.QUICK_REQUESTS": 40,
    "benchmarks.gateway.QUICK_CALLS": 8,
    "benchmarks.gateway.QUICK_BATCH": 6,
    "benchmarks.scheduler_cost.QUICK_MANY_TASKS": 2_000,
    "benchmarks.scheduler_cost.MANY_WORKERS": 50,
}


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("name", benchmarks.MEASUREMENTS)
def test_each_measurement_measures_something(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for what, size in SHRUNK.items():
        monkeypatch.setattr(what, size)
    assert benchmarks.main(["--only", name, "--quick", "--rounds", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["measurements"][name]["figures"]
    assert any(figure["verdict"] for figure in figures.values())
    assert all(value > 0 for figure in figures.values() for value in figure["values"])
