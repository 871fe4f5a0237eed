"""Charts of a load and of a ramp: correct, legible in both languages, with the language's decimal mark."""

from __future__ import annotations

from random import Random

import pytest
from matplotlib.colors import to_hex

from labkit import charts
from labkit.charts import LoadPoint, LoadStep
from labkit.support import i18n
from labkit.support.palette import worker_colour
from tests.tools.drawn_charts import assert_legible, labelled, legend_of, written


def points(count: int = 80, workers: int = 3, failing: int = 0) -> list[LoadPoint]:
    random = Random(4)
    found = [
        LoadPoint(n * 0.05, n * 0.05 + 0.2, random.expovariate(12), f"worker-{n % workers + 1}")
        for n in range(count)
    ]
    return found + [LoadPoint(n * 0.1, 5.0, 4.0, "", "TaskHung") for n in range(failing)]


STEPS = [
    LoadStep(5.0, 5.0, 0.003, 0.012, True),
    LoadStep(40.0, 39.5, 0.01, 0.2, True),
    LoadStep(60.0, 42.0, 1.2, 2.5, False),
    LoadStep(50.0, 42.0, 0.4, 0.7, False),
]

LOADS = {
    "usual": (points(), None),
    "with a kill": (points(failing=5), (1.5, "worker-2")),
    "a kill at the end": (points(), (4.1, "a-worker-with-a-very-long-name-of-its-own")),
    "many workers": (points(300, workers=24), None),
    "one task": (points(1), None),
    "only errors": (points(0, failing=3), None),
    "nothing waited": ([LoadPoint(0.0, 0.0, 0.0, "w")], None),
    "nothing": ([], None),
}
RAMPS = {
    "usual": (STEPS, 0.5, 40.0),
    "no knee": (STEPS[2:], 0.5, None),
    "only a knee": (STEPS[:1], 0.5, 5.0),
    "not finished": (STEPS[:2], 0.5, None),
    "without results": ([LoadStep(5.0, 0.0, None, None, False)], 0.5, None),
    "nothing": ([], 0.5, None),
}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("name", LOADS)
def test_a_load_is_legible_in_both_languages(name: str, language: str) -> None:
    i18n.set_language(language)
    of, kill = LOADS[name]
    chart = charts.load(of, kill)
    assert_legible(chart)
    assert charts.alt_text(chart)
    table = charts.load_table(of, kill)
    assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("name", RAMPS)
def test_a_ramp_is_legible_in_both_languages(name: str, language: str) -> None:
    i18n.set_language(language)
    chart = charts.ramp(*RAMPS[name])
    assert_legible(chart)
    assert charts.alt_text(chart)
    assert len(charts.ramp_table(*RAMPS[name]).rows) == len(RAMPS[name][0])


def test_every_task_is_counted_once() -> None:
    of = points(80, failing=5)
    table = charts.load_table(of)
    totals = [sum(row[column] for row in table.rows) for column in (2, 3, 4)]  # type: ignore[misc]
    assert totals == [85, 80, 5]
    stairs = {name: labelled(charts.load(of).axes[0], name)[0] for name in ("_planned", "_done")}
    for name, count in (("_planned", 85), ("_done", 80)):
        values, edges, _baseline = stairs[name].get_data()
        assert sum(values) * (edges[1] - edges[0]) == pytest.approx(count)


def burst(end_s: float) -> list[LoadPoint]:
    """Return 20 tasks every two seconds; the last result comes at an odd instant."""
    return [
        LoadPoint(2.0 * n, 2.0 * n + 0.0137 * k, 0.01 * k, f"worker-{k % 3 + 1}")
        for n in range(int(end_s / 2))
        for k in range(20)
    ]


@pytest.mark.parametrize("end_s", [8, 30, 100, 200, 400, 1000])
def test_every_window_with_bursts_holds_the_same_number(end_s: int) -> None:
    rows = charts.load_table(burst(end_s)).rows
    planned = [int(row[2]) for row in rows[:-1]]  # type: ignore[call-overload]
    assert len({n for n in planned if n}) == 1, "the last window may be cut"


def test_results_have_no_colour_of_a_worker() -> None:
    chart = charts.load(points(workers=6))
    colour = to_hex(labelled(chart.axes[0], "_done")[0].get_facecolor())
    assert colour.upper() not in {worker_colour(f"worker-{n}").upper() for n in range(1, 19)}


def test_the_p95_is_named_in_the_legend_and_not_on_the_dots() -> None:
    chart = charts.load(points())
    assert [text for text in legend_of(chart.axes[1]) if text.startswith("95 % waited at most")]
    assert not [text for text in chart.axes[1].texts if "95 %" in text.get_text()]


def test_a_kill_is_named_and_errors_are_in_the_legend() -> None:
    chart = charts.load(*LOADS["with a kill"])
    assert "worker-2 killed" in written(chart)
    assert "without a result" in legend_of(chart.axes[1])
    assert "worker-2 was killed after 1.50 s." in charts.alt_text(chart)


def test_spanish_numbers_have_a_comma() -> None:
    i18n.set_language("es")
    load, ramp = charts.load(*LOADS["with a kill"]), charts.ramp(*RAMPS["usual"])
    for chart in (load, ramp):
        chart.draw_without_rendering()
        told = " ".join([*written(chart), charts.alt_text(chart)])
        assert any(f"{digit},{other}" in told for digit in "0123456789" for other in "0123456789")
        assert not any(f"{digit}.{other}" in told for digit in "0123456789" for other in "0123456789")


def test_a_search_that_did_not_end_has_no_knee() -> None:
    chart = charts.ramp(*RAMPS["not finished"])
    assert "The knee was not found." in charts.alt_text(chart)
    assert legend_of(chart.axes[0]) == ["p95 of waiting", "p50 of waiting", "bound: 0.50 s"]
    assert chart.axes[0].get_ylim()[1] > 0.5, "the bound is in sight"


def test_the_knee_and_the_bound_are_named() -> None:
    chart = charts.ramp(*RAMPS["usual"])
    assert {"knee: 40 tasks/s", "bound: 0.50 s"} <= set(legend_of(chart.axes[0]))
    assert "It stays below 0.50 s up to 40 tasks/s." in charts.alt_text(chart)
