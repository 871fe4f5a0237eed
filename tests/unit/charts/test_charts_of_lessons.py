"""Charts of the lessons: guesses, curves, timelines, pictures; correct and legible in both languages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labkit import charts
from labkit.charts import Chart, Guessed, Table
from labkit.charts.draw_curve import OVER, PREDICTED
from labkit.support import i18n
from labkit.support.timing import Span, Timing
from tests.tools.drawn_charts import assert_legible, labelled, legend_of, written


def timing(middle: float, spread: float = 0.1) -> Timing:
    return Timing((middle * (1 - spread), middle, middle * (1 + spread)))


GUESSES = [
    Guessed("sequential", 2.0, timing(1.8)),
    Guessed("threads", 0.5, timing(0.3)),
    Guessed("vignette_python", None, Timing((0.004,))),
]
CURVE = {1: timing(1.6), 2: timing(0.8), 4: timing(0.5), 8: timing(0.4)}
SPANS = [
    Span("thread-10", "moon", 0.2, 0.4),
    Span("thread-2", "cat", 0.1, 0.3),
    Span("thread-2", "a-very-long-name-for-so-short-a-bar", 0.3, 0.31),
    Span("main", "blur", 0.3, 0.35),
]
PICTURES = {
    "grey": np.full((30, 40), 200, np.uint8),
    "colour": np.full((300, 40, 3), (255, 0, 0), np.uint8),
    "see-through": np.full((40, 300, 4), 90, np.uint8),
    "a_very_long_name_that_cannot_fit_below_its_tile": np.full((9, 9), 0, np.uint8),
}
PREDICTIONS: dict[str, dict[float, float]] = {
    "guess": {1: 1.6, 2: 0.8, 4: 0.4, 8: 0.2},
    "amdahl": {1: 1.6, 8: 0.4},
    "ideal": {1: 1, 8: 8},
}

DRAWN: dict[str, tuple[Callable[..., Chart], Callable[..., Table], tuple[object, ...]]] = {
    "guesses": (charts.guesses, charts.guesses_table, (GUESSES,)),
    "no guesses": (charts.guesses, charts.guesses_table, ([],)),
    "one guess": (charts.guesses, charts.guesses_table, (GUESSES[:1],)),
    "nothing took any time": (charts.guesses, charts.guesses_table, ([Guessed("x", 0.0, Timing((0.0,)))],)),
    "curve": (charts.curve, charts.curve_table, ({"fetch": CURVE}, "threads", PREDICTIONS, 4)),
    "curve of nothing": (charts.curve, charts.curve_table, ({}, "threads")),
    "curve of an empty series": (charts.curve, charts.curve_table, ({"fetch": {}}, "threads", None, 2)),
    "curve of one point": (charts.curve, charts.curve_table, ({"fetch": {4: timing(1)}}, "processes")),
    "curve over megabytes": (
        charts.curve,
        charts.curve_table,
        ({"echo": {0.01: timing(1e-4), 10: timing(0.1)}}, "megabytes"),
    ),
    "four curves": (
        charts.curve,
        charts.curve_table,
        (
            dict.fromkeys(("vignette_python", "blur", "open_and_filter", "sharpen"), CURVE),
            "chunksize",
            PREDICTIONS,
            8,
        ),
    ),
    "speed-up": (charts.speed_up, charts.speed_up_table, ({"blur": CURVE, "b": CURVE}, "threads", {}, 2)),
    "speed-up of nothing": (charts.speed_up, charts.speed_up_table, ({}, "threads")),
    "timeline": (charts.timeline, charts.timeline_table, (SPANS,)),
    "empty timeline": (charts.timeline, charts.timeline_table, ([],)),
    "one call": (charts.timeline, charts.timeline_table, (SPANS[:1],)),
    "a call without duration": (charts.timeline, charts.timeline_table, ([Span("main", "x", 1.0, 1.0)],)),
    "many threads": (
        charts.timeline,
        charts.timeline_table,
        ([Span(f"thread-{i}", "x", i, i + 2) for i in range(60)],),
    ),
    "pictures": (charts.pictures, charts.pictures_table, (PICTURES,)),
    "no pictures": (charts.pictures, charts.pictures_table, ({},)),
    "many pictures": (
        charts.pictures,
        charts.pictures_table,
        ({f"picture-{i}": PICTURES["grey"] for i in range(20)},),
    ),
}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", DRAWN)
def test_texts_neither_overlap_nor_leave_the_picture(name: str, language: str) -> None:
    i18n.set_language(language)
    draw, _table, arguments = DRAWN[name]
    figure = draw(*arguments)
    assert_legible(figure)


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", DRAWN)
def test_each_lesson_chart_has_a_description_and_a_table(name: str, language: str) -> None:
    i18n.set_language(language)
    draw, table_of, arguments = DRAWN[name]
    assert charts.alt_text(draw(*arguments)).endswith(".")
    table = table_of(*arguments)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table._repr_html_() and str(table)


@pytest.mark.parametrize("name", ["guesses", "curve", "speed-up", "timeline", "pictures"])
def test_each_lesson_chart_is_available_in_spanish(name: str) -> None:
    draw, table_of, arguments = DRAWN[name]
    english = {*written(draw(*arguments)), *table_of(*arguments).columns, charts.alt_text(draw(*arguments))}
    i18n.set_language("es")
    spanish = {*written(draw(*arguments)), *table_of(*arguments).columns, charts.alt_text(draw(*arguments))}
    told = {"seconds", "Guess and measurement", "your guess", "who", "picture", "times as fast"}
    assert english & told and not spanish & told


# --- guesses ------------------------------------------------------------------------------------------------


def test_guess_is_a_hollow_bar_above_the_measurement() -> None:
    axes = charts.guesses(GUESSES).axes[0]
    guessed = [bar for bar in axes.patches if bar.get_hatch()]
    measured = [bar for bar in axes.patches if not bar.get_hatch()]
    assert [bar.get_width() for bar in guessed] == [2.0, 0.5]  # type: ignore[attr-defined]
    assert [bar.get_width() for bar in measured] == [1.8, 0.3, 0.004]  # type: ignore[attr-defined]
    assert all(one.get_y() < other.get_y() for one, other in zip(guessed, measured, strict=False))  # type: ignore[attr-defined]
    assert axes.yaxis_inverted()
    spreads = labelled(axes, "_spread")
    assert list(spreads[0].get_xdata()) == pytest.approx([1.62, 1.98])


def test_guesses_are_described_in_words() -> None:
    words = written(charts.guesses(GUESSES))
    assert "your guess: 2.00 s" in words and "no guess" in words
    assert "measured: 1.80 s (1.62 s to 1.98 s)" in words and "measured: 4 ms" in words
    assert "one after the other" in words and "vignette_python" in words


def test_table_of_guesses_holds_every_number() -> None:
    table = charts.guesses_table(GUESSES)
    assert table.rows[0] == ("one after the other", 2.0, 1.8, pytest.approx(1.62), pytest.approx(1.98), 3)
    assert table.rows[2][1] is None


def test_counts_are_shown_as_whole_numbers() -> None:
    rows = [Guessed("unlocked", 2000, Timing((501, 640, 512))), Guessed("locked", None, Timing((2000,)))]
    figure = charts.guesses(rows, unit="additions")
    assert figure.axes[0].get_xlabel() == "additions"
    assert {"your guess: 2000", "measured: 512 (501 to 640)", "measured: 2000"} <= set(written(figure))
    table = charts.guesses_table(rows, unit="additions")
    assert table.columns == ("what", "guess", "measured", "least", "most", "runs")
    assert table.rows[0] == ("without a lock", 2000, 512, 501, 640, 3)
    assert "2000.0" not in str(table), "in Spanish 2000.000 are two million"


# --- curves -------------------------------------------------------------------------------------------------


def test_curve_has_points_spread_predictions_and_cores() -> None:
    axes = charts.curve({"fetch": CURVE}, "threads", PREDICTIONS, 4).axes[0]
    (points,) = axes.containers
    line, _caps, bars = points
    assert list(line.get_xdata()) == [1, 2, 4, 8] and list(line.get_ydata()) == [1.6, 0.8, 0.5, 0.4]
    first = bars[0].get_segments()[0]
    assert [y for _x, y in first] == pytest.approx([1.44, 1.76])
    (guess,) = labelled(axes, "_guess")
    assert list(guess.get_ydata()) == [1.6, 0.8, 0.4, 0.2]
    (cores,) = labelled(axes, "_cores")
    assert list(cores.get_xdata()) == [4, 4]
    assert legend_of(axes) == [
        "measured: fetch",
        "your guess",
        "Amdahl's prediction",
        "ideal: n times as fast with n",
        "cores of this machine: 4",
    ]


def test_prediction_uses_the_unit_of_the_measurement() -> None:
    times = {1: timing(0.2), 2: timing(0.1)}
    axes = charts.curve({"fetch": times}, "threads", {"guess": {1: 0.2, 2: 0.05}}).axes[0]
    assert axes.get_ylabel() == "milliseconds"
    (guess,) = labelled(axes, "_guess")
    assert list(guess.get_ydata()) == pytest.approx([200, 50])
    table = charts.curve_table({"fetch": times}, "threads", {"guess": {1: 0.2, 2: 0.05}})
    assert table.columns == ("number of threads", "fetch (ms)", "least", "most", "your guess")
    assert table.rows[1] == (2, *map(pytest.approx, (100, 90, 110, 50)))


def test_speed_up_is_relative_to_the_smallest_number_tried() -> None:
    axes = charts.speed_up({"blur": CURVE}, "threads").axes[0]
    assert list(axes.containers[0][0].get_ydata()) == pytest.approx([1.0, 2.0, 3.2, 4.0])
    row = charts.speed_up_table({"blur": CURVE}, "threads").rows[1]
    assert row == (2, *map(pytest.approx, (2.0, 1.6 / 0.88, 1.6 / 0.72)))


@pytest.mark.parametrize(("cores", "drawn"), [(1, True), (8, True), (9, False), (64, False)])
def test_legend_names_the_cores_only_where_their_line_is_drawn(cores: int, drawn: bool) -> None:
    axes = charts.curve({"fetch": CURVE}, "threads", cores=cores).axes[0]
    assert [line.get_xdata()[0] for line in labelled(axes, "_cores")] == [cores] * drawn
    assert (f"cores of this machine: {cores}" in legend_of(axes)) is drawn


@pytest.mark.parametrize("over", ["megabytes", "chunksize"])
def test_proportional_cost_is_drawn_with_two_logarithmic_axes(over: str) -> None:
    draw, _table, (curves, _over) = DRAWN["curve over megabytes"]
    axes = draw(curves, over).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert charts.curve({"fetch": CURVE}, "threads").axes[0].get_yscale() == "linear"


def test_unmeasured_value_is_empty_in_the_table() -> None:
    table = charts.curve_table({"fetch": {1: timing(1)}}, "threads", {"guess": {2: 0.5}})
    assert table.rows == [
        (1, 1.0, pytest.approx(0.9), pytest.approx(1.1), None),
        (2, None, None, None, 0.5),
    ]


def test_every_variable_and_prediction_is_named_in_both_languages() -> None:
    for text in (*OVER.values(), *PREDICTED.values()):
        i18n.set_language("en")
        assert i18n._(text) == text
        i18n.set_language("es")
        assert i18n._(text) != text


# --- timelines ----------------------------------------------------------------------------------------------


def test_timeline_has_a_row_per_thread_and_a_bar_per_call() -> None:
    axes = charts.timeline(SPANS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["main", "thread-2", "thread-10"]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]
    assert bars == [(pytest.approx(s.begin - 0.1), pytest.approx(s.end - s.begin)) for s in SPANS]
    words = written(charts.timeline(SPANS))
    assert "moon" in words and "a-very-long-name-for-so-short-a-bar" not in words


def test_omitted_rows_are_counted_and_listed_in_the_table() -> None:
    draw, table_of, arguments = DRAWN["many threads"]
    assert any("36 more rows are not shown" in text for text in written(draw(*arguments)))
    assert len(table_of(*arguments).rows) == 60


def test_timeline_table_adds_up_the_calls_per_thread() -> None:
    assert charts.timeline_table(SPANS).rows[1] == ("thread-2", 2, pytest.approx(0.21))


# --- pictures -----------------------------------------------------------------------------------------------


def test_pictures_are_shown_in_colour_as_jpeg_with_names() -> None:
    chart = charts.pictures(PICTURES)
    picture, words = chart._repr_jpeg_()
    assert picture.startswith(b"\xff\xd8") and words["alt"].startswith("Pictures: grey, colour")
    tiles = [np.asarray(axes.get_images()[0].get_array()) for axes in chart.axes]
    assert [tuple(tile[5, 5]) for tile in tiles[:3]] == [(200,) * 3, (0, 0, 255), (90,) * 3]
    assert charts.pictures_table(PICTURES).rows[1] == ("colour", 40, 300)


def test_transparent_and_deep_pictures_are_shown_as_they_look() -> None:
    clear = np.zeros((30, 40, 4), np.uint8)
    clear[:, :, 1] = 255  # hidden green
    half = np.full((30, 40, 4), 0, np.uint8)
    half[:, :, 3] = 51
    half[15:, :, 3] = 255
    deep = np.full((30, 40), 200 * 257, np.uint16)
    named: dict[str, np.ndarray] = {
        "clear": clear,
        "half": half,
        "deep": deep,
        "both": half.astype(np.uint16) * 257,
    }
    tiles = [np.asarray(axes.get_images()[0].get_array()) for axes in charts.pictures(named).axes]
    assert [tuple(tile[5, 5]) for tile in tiles] == [(255,) * 3, (204,) * 3, (200,) * 3, (204,) * 3]


# --- the league ---------------------------------------------------------------------------------------------

LEAGUE = [
    charts.Ranked("least_busy", 5.234, 2.331, 0.77, 22.8, 0),
    charts.Ranked("a_learner_with_a_very_long_name_indeed/ex17_own_policy", 5.4, 2.4, 0.7, 25.0, 0),
    charts.Ranked("waits/for_ever", 0.0, 0.0, 1.0, 0.0, 12),
]


@pytest.mark.parametrize(("language", "figure"), [("en", "5.23"), ("es", "5,23")])
def test_league_has_a_bar_for_each_policy_and_figure(language: str, figure: str) -> None:
    i18n.set_language(language)
    try:
        chart = charts.league(LEAGUE)
        assert_legible(chart)
        assert len(chart.axes) == 5
        assert [bar.get_width() for bar in chart.axes[0].patches] == [5.234, 5.4, 0.0]  # type: ignore[attr-defined]
        assert chart.axes[2].patches[2].get_width() == 0, "not a fair one"  # type: ignore[attr-defined]
        assert figure in written(chart) and written(chart).count("–") == 4
        assert f"1: least_busy: makespan {figure}" in charts.alt_text(chart)
        assert charts.league_table(LEAGUE).rows[2] == (3, "waits/for_ever", 0.0, 0.0, 1.0, 0.0, 12)
        assert_legible(charts.league([]))
    finally:
        i18n.set_language(None)
