"""Charts that compare histories show what happened, for every kind of history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit import charts
from labkit.charts.draw_absences import absence_of
from labkit.charts.draw_waits import waits_of
from labkit.charts.style import Chart
from labkit.charts.table import Table
from labkit.core.history import Event, History
from labkit.simulation import simulate
from labkit.support import i18n
from tests.tools.drawn_charts import assert_legible, labelled, legend_of, texts, written
from tests.tools.made_histories import demo, frozen, note, run, with_notes

Draw = Callable[[Mapping[str, History]], Chart]
BOTH: list[tuple[Draw, Callable[[Mapping[str, History]], Table]]] = [
    (charts.absences, charts.absences_table),
    (charts.waits, charts.waits_table),
]


def stopped() -> History:
    """A polite stop: the worker drains, gives one task back, leaves, and joins again."""
    return History(
        [
            note(0, "broker_started"),
            note(0.1, "joined", "worker-1"),
            note(0.1, "joined", "worker-2"),
            *[note(0.2, "submitted", task=t) for t in ("a", "b")],
            note(0.3, "dispatched", "worker-2", "a", 1),
            note(0.3, "dispatched", "worker-2", "b", 1),
            note(1.0, "fault", fault="stop", target="worker-2"),
            note(1.1, "draining", "worker-2"),
            note(1.1, "requeued", "worker-2", "b", 1, cause="returned"),
            note(1.2, "dispatched", "worker-1", "b", 2),
            note(1.3, "done", "worker-2", "a", 1, compute_s=0.9),
            note(1.4, "left", "worker-2"),
            note(1.5, "done", "worker-1", "b", 2, compute_s=0.3),
            note(2.0, "fault", fault="start", target="worker-2"),
            note(2.5, "joined", "worker-2"),
        ]
    )


def slow() -> History:
    return History(
        with_notes(
            run(),
            note(1.0, "fault", fault="slow", target="worker-2"),
            note(2.0, "fault", fault="heal", target="worker-2"),
        )
    )


def bars(axes: Axes, label: str) -> list[Any]:
    return [bar for container in axes.containers if container.get_label() == label for bar in container]


def single(kind: str) -> History:
    return History([Event(5.0, kind, "ab" * 16, 1, "worker-1", {"fault": "kill", "target": "worker-1"})])


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
@pytest.mark.parametrize(("draw", "table"), BOTH)
def test_every_kind_of_history_is_drawn_with_description_and_table(
    draw: Draw, table: Callable[[Mapping[str, History]], Table], lang: str
) -> None:
    i18n.set_language(lang)
    cases: list[dict[str, History]] = [
        {},
        {"nothing": History()},
        {"one": single("done"), "other": single("fault"), "third": single("lost")},
        {"crash": History(demo()), "freeze": History(frozen()), "slow": slow(), "stop": stopped()},
        {f"seed {seed}": History(simulate(seed=seed).history) for seed in (1, 2)},
    ]
    for histories in cases:
        chart = draw(histories)
        FigureCanvasAgg(chart).draw()
        assert charts.alt_text(chart) and chart.axes[0].get_title(loc="left")
        assert len(table(histories).rows) == len(histories)
        assert all(len(row) == len(table(histories).columns) for row in table(histories).rows)


@pytest.mark.parametrize("draw", [draw for draw, _table in BOTH])
def test_no_text_crosses_the_figures_edges(draw: Draw) -> None:
    i18n.set_language("es")
    chart = draw({"crash": History(demo()), "freeze": History(frozen()), "slow": slow(), "stop": stopped()})
    canvas = FigureCanvasAgg(chart)
    canvas.draw()
    width, height = canvas.get_width_height()
    ticks = {id(tick) for tick in chart.axes[0].get_xticklabels()}  # some are beyond the axes, and not drawn
    for text in texts(chart):
        if id(text) in ticks:
            continue
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1
        assert inside, text.get_text()


# --- absences -----------------------------------------------------------------------------------------------


def test_crash_lane_shows_lost_requeued_retried_and_rejoined() -> None:
    absence = absence_of(History(demo()))
    (chain,) = History(demo()).recoveries()
    assert absence is not None and (absence.fault, absence.target) == ("kill", "worker-2")
    assert absence.lost_s == pytest.approx(chain.detection_s)
    assert absence.retried_s == pytest.approx(chain.recovery_s)
    assert absence.requeued == 1 and absence.back_s is not None and absence.open_tasks == 0


def test_polite_stop_is_not_shown_as_a_loss() -> None:
    absence = absence_of(stopped())
    assert absence is not None and absence.lost_s is None and absence.left_s == pytest.approx(0.4)
    assert absence.requeued == 1 and absence.retried_s == pytest.approx(0.5)
    figure = charts.absences({"stop": stopped()})
    assert "polite stop" in written(figure)
    assert any("has left after 0.40 s, empty-handed" in text for text in written(figure))
    assert bars(figure.axes[0], "_lost") == [] and len(bars(figure.axes[0], "_left")) == 1
    words = [*written(figure), figure.axes[0].get_xlabel(), *legend_of(figure.axes[0])]
    assert not [text for text in words if "fault" in text], "a polite stop is not a fault"


def test_slow_worker_is_never_lost_and_its_slow_period_is_hatched() -> None:
    figure = charts.absences({"slow": slow()})
    assert any("never lost" in text for text in written(figure))
    (bar,) = bars(figure.axes[0], "_slowed")
    assert (bar.get_x(), bar.get_width()) == pytest.approx((0.0, 1.0)) and bar.get_hatch()


def test_result_of_the_lost_attempt_is_not_a_retry() -> None:
    events = list(demo())
    requeued = next(e for e in events if e.kind == "requeued")
    late = [e for e in events if not (e.task == requeued.task and e.attempt == 2)]
    late += [requeued._replace(at=requeued.at + 0.05, kind="done", detail={"compute_s": 0.1})]
    absence = absence_of(History(sorted(late, key=lambda e: e.at)))
    assert absence is not None and absence.requeued == 1 and absence.retried_s is None


def test_bands_show_states_and_marks_stand_at_their_instants() -> None:
    history = History(demo())
    absence = absence_of(history)
    assert absence is not None
    axes = charts.absences({"crash": history}).axes[0]
    (band,) = bars(axes, "_lost")
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((absence.lost_s, absence.back_s))
    for sign, at in (("_requeued", absence.requeued_s), ("_retried", absence.retried_s)):
        (point,) = labelled(axes, sign)
        assert list(point.get_xdata()) == [at]
    assert {"ready", "lost", "it has joined again"} <= set(legend_of(axes))


def test_lane_of_a_history_without_faults_states_it() -> None:
    figure = charts.absences({"crash": History(demo()), "calm": History(run())})
    assert "no fault was recorded" in written(figure)
    assert charts.absences_table({"calm": History(run())}).rows[0][1:] == (None,) * 10


# --- waits --------------------------------------------------------------------------------------------------


def test_wait_is_all_time_not_spent_computing() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(0, "joined", "worker-1"),
            note(1.0, "submitted", task="a"),
            note(1.2, "dispatched", "worker-1", "a", 1),
            note(2.0, "done", "worker-1", "a", 1, compute_s=0.3),
        ]
    )
    (wait,) = waits_of(history)
    assert wait.wait_s == pytest.approx(0.7) and wait.worker == "worker-1"
    assert charts.longest_wait(history).times == pytest.approx((0.7,))
    assert charts.longest_wait(History()).times == (0.0,)


def test_each_task_is_a_dot_in_the_colour_of_its_worker() -> None:
    history = History(demo())
    axes = charts.waits({"least_busy": history}).axes[0]
    dots = [line for name in history.slots() for line in labelled(axes, name)]
    assert sum(len(dot.get_xdata()) for dot in dots) == len(waits_of(history)) == 180
    assert {dot.get_markerfacecolor() for dot in dots} == {charts.worker_colour(n) for n in history.slots()}
    assert legend_of(axes) == ["worker-1", "worker-2", "worker-3"]


def test_guessed_longest_wait_is_marked_in_its_row_and_in_the_table() -> None:
    history = History(demo())
    both, bets = {"round_robin": history, "least_busy": history}, {"round_robin": 30.0, "nobody": 1.0}
    chart = charts.waits(both, bets)
    (mark,) = labelled(chart.axes[0], "_guess_round_robin")
    assert list(mark.get_xdata()) == [30.0, 30.0] and max(mark.get_ydata()) < 0.5
    assert chart.axes[0].get_xlim()[1] > 30.0
    assert legend_of(chart.axes[0]) == ["worker-1", "worker-2", "worker-3", "your guess of the longest"]
    assert charts.alt_text(chart).count("your guess: 30.0 s") == 1
    assert_legible(chart)
    table = charts.waits_table(both, bets)
    assert table.columns[-1] == "your guess of the longest (s)"
    assert [row[-1] for row in table.rows] == [30.0, None]


def test_table_of_waits_counts_the_long_waits() -> None:
    (row,) = charts.waits_table({"least_busy": History(demo())}).rows
    found = sorted(wait.wait_s for wait in waits_of(History(demo())))
    assert row[1] == 180 and row[4] == found[-1] and row[5] == sum(t > 0.1 for t in found)


def test_worker_that_left_before_it_was_done_is_not_called_empty_handed() -> None:
    events = [
        note(0, "broker_started"),
        note(0.1, "joined", "worker-2"),
        note(0.2, "submitted", task="a"),
        note(0.3, "dispatched", "worker-2", "a", 1),
        note(1.0, "fault", fault="stop", target="worker-2"),
        note(1.1, "draining", "worker-2"),
        note(11.1, "left", "worker-2"),
        note(11.1, "requeued", "worker-2", "a", 1, cause="left"),
    ]
    texts = written(charts.absences({"stop": History(events)}))
    assert any("has left after 10.1 s, unfinished" in text for text in texts), texts
    assert not any("empty-handed" in text for text in texts)


def test_signs_of_one_instant_do_not_cover_each_other() -> None:
    figure = charts.absences({"crash": History(demo()), "stop": stopped(), "freeze": History(frozen())})
    (axes,) = figure.axes
    figure.draw_without_rendering()
    signs = [
        tuple(axes.transData.transform((line.get_xdata()[0], line.get_ydata()[0])))
        for name in ("_requeued", "_retried", "_back")
        for line in labelled(axes, name)
    ]
    assert len(signs) >= 6
    for number, (x, y) in enumerate(signs):
        for other_x, other_y in signs[:number]:
            assert (x - other_x) ** 2 + (y - other_y) ** 2 >= 18**2
