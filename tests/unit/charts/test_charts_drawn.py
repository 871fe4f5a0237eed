"""Each chart of one history shows what happened: windows, bars, links and shares."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch
from PIL import Image

from labkit import charts
from labkit.charts.marks import outages
from labkit.charts.style import Chart
from labkit.core.history import Event, History
from labkit.support import i18n
from labkit.support.palette import FAULT
from tests.tools.drawn_charts import labelled, legend_of, texts, written
from tests.tools.made_histories import note, run, with_notes

# --- throughput ---------------------------------------------------------------------------------------------


def test_stacked_worker_areas_add_up_to_every_result(history: History) -> None:
    axes = charts.throughput(history).axes[0]
    (total,) = labelled(axes, "_sum")
    assert isinstance(total, StepPatch)
    values, edges, _baseline = total.get_data()
    areas = [value * (b - a) for value, a, b in zip(values, edges, edges[1:], strict=False)]
    assert sum(areas) == pytest.approx(180)
    top = labelled(axes, "worker-3")[0].get_data().values
    assert list(top) == pytest.approx(list(values))


def test_fault_is_marked_named_and_shaded_until_the_worker_returns(
    history: History,
) -> None:
    for figure in (charts.throughput(history), charts.gantt(history)):
        axes = figure.axes[0]
        (fault,) = labelled(axes, "_harm")
        assert list(fault.get_xdata()) == pytest.approx([1.5, 1.5])
        assert to_hex(fault.get_color()) == FAULT.lower()
        assert {"kill worker-2", "start worker-2"} <= set(written(figure))
        (outage,) = labelled(axes, "_outage")
        FigureCanvasAgg(figure).draw()
        shaded = axes.transData.inverted().transform_bbox(outage.get_window_extent())
        assert (shaded.x0, shaded.x1) == pytest.approx((1.5, 2.4), abs=0.01)


def test_95_percent_line_ends_where_throughput_recovered(history: History) -> None:
    (chain,) = history.recoveries()
    axes = charts.throughput(history).axes[0]
    (line,) = labelled(axes, "95 % of the rate before the fault")
    assert chain.usual_per_s is not None
    assert list(line.get_xdata()) == pytest.approx([chain.fault_at, chain.restored_at])
    assert list(line.get_ydata()) == pytest.approx([0.95 * chain.usual_per_s] * 2)
    (point,) = labelled(axes, "throughput back")
    assert list(point.get_xdata()) == [chain.restored_at]


def test_line_of_an_unrecovered_run_reaches_the_end_without_a_point() -> None:
    axes = charts.throughput(History(run(kill_at=1.5, back_after=None))).axes[0]
    assert labelled(axes, "throughput back") == []
    (line,) = labelled(axes, "95 % of the rate before the fault")
    assert line.get_xdata()[1] == axes.get_xlim()[1]


def test_throughput_table_holds_the_drawn_windows(history: History) -> None:
    table = charts.throughput_table(history, window_s=0.5)
    assert table.columns[-3:] == ("worker-1", "worker-2", "worker-3")
    assert sum(int(str(row[2])) for row in table.rows) == 180
    assert all(row[2] == sum(row[4:]) for row in table.rows)  # type: ignore[arg-type]


def test_very_many_workers_are_drawn_only_as_their_sum() -> None:
    axes = charts.throughput(History(run(tasks=400, workers=11))).axes[0]
    assert legend_of(axes) == ["11 workers"]


def test_single_result_makes_no_peak() -> None:
    history = History(run(tasks=1, workers=1))
    (row,) = charts.throughput_table(history).rows
    ((begin, end),) = history.busy()
    assert row[3] == pytest.approx(1 / (end - begin))


def test_overlapping_shades_merge_and_a_passed_fault_has_none() -> None:
    events = [
        note(0, "broker_started"),
        *[note(0.1, "joined", f"worker-{i}") for i in (1, 2, 3)],
        *[note(1.0 + i, "fault", fault="pause", target=f"worker-{i}") for i in (1, 2)],
        *[note(5.0 + i, "fault", fault="resume", target=f"worker-{i}") for i in (1, 2)],
        note(9.0, "fault", fault="slow", target="worker-3"),
        note(9.5, "broker_stopped"),
    ]
    assert outages(History(events)) == {"worker-1": [(2.0, 6.0)], "worker-2": [(3.0, 7.0)]}
    figure = charts.throughput(History(events))
    (shade,) = labelled(figure.axes[0], "_outage")
    FigureCanvasAgg(figure).draw()
    shaded = figure.axes[0].transData.inverted().transform_bbox(shade.get_window_extent())
    assert (shaded.x0, shaded.x1) == pytest.approx((2.0, 7.0), abs=0.05)


# --- gantt --------------------------------------------------------------------------------------------------


def test_each_attempt_is_a_bar_in_the_row_of_its_worker(history: History) -> None:
    axes = charts.gantt(history).axes[0]
    for row, worker in enumerate(("worker-1", "worker-2", "worker-3")):
        bars = [
            path
            for kind in ("_first", "_repeated", "_interrupted")
            for collection in labelled(axes, f"{kind} {worker}")
            for path in collection.get_paths()
        ]
        assert len(bars) == len(history.intervals()[worker])
        assert all(row - 0.5 < path.get_extents().y0 < path.get_extents().y1 < row + 0.5 for path in bars)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worker-1", "worker-2", "worker-3"]
    assert axes.yaxis_inverted()


def test_interrupted_and_repeated_attempts_are_hatched_and_linked(history: History) -> None:
    axes = charts.gantt(history).axes[0]
    (interrupted,) = labelled(axes, "_interrupted")
    (repeated,) = labelled(axes, "_repeated")
    assert (
        interrupted.get_hatch() and repeated.get_hatch() and interrupted.get_hatch() != repeated.get_hatch()
    )
    assert to_hex(interrupted.get_edgecolor()[0]) == FAULT.lower()
    lost = interrupted.get_paths()[0].get_extents()
    again = repeated.get_paths()[0].get_extents()
    (arrow,) = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert arrow.xyann[0] == pytest.approx(lost.x1)  # type: ignore[attr-defined]
    assert arrow.xy[0] == pytest.approx(again.x0)  # type: ignore[attr-defined]
    (cross,) = labelled(axes, "_lost")
    assert list(cross.get_xdata()) == pytest.approx([lost.x1])
    assert legend_of(axes) == [
        "computed",
        "interrupted",
        "computed again",
        "from the fault until it joined again",
    ]


def test_legend_of_a_run_without_faults_has_no_hatches() -> None:
    axes = charts.gantt(History(run())).axes[0]
    assert legend_of(axes) == ["computed"]


def test_each_slot_has_a_row_and_each_worker_one_name() -> None:
    axes = charts.gantt(History(run(slots=3))).axes[0]
    assert len(axes.get_yticks()) == 3
    assert list(axes.get_yticks()) == [1, 4, 7]
    assert sorted(axes.get_ylim()) == pytest.approx([-0.55, 8.55])


def test_very_thin_bars_still_cover_all_running_time() -> None:
    history = History(run(tasks=5000, workers=2, seconds=(0.002, 0.004)))
    axes = charts.gantt(history).axes[0]
    for worker in ("worker-1", "worker-2"):
        (bars,) = labelled(axes, f"_first {worker}")
        drawn = sum(path.get_extents().width for path in bars.get_paths())
        ran = sum(bar.end - bar.start for bar in history.intervals()[worker])
        assert drawn >= ran
        assert bars.get_linewidth()[0] == 0


def test_gantt_table_describes_every_attempt(history: History) -> None:
    table = charts.gantt_table(history)
    assert len(table.rows) == 181
    assert [row[6] for row in table.rows].count("lost with its worker") == 1


# --- recovery -----------------------------------------------------------------------------------------------


def test_recovery_chain_is_drawn_link_by_link_with_seconds(history: History) -> None:
    (chain,) = history.recoveries()
    figure = charts.recovery(history)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "kill worker-2 at 1.50 s"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["detected", "requeued", "first result elsewhere", "throughput back at 95 %"]
    ends = [float(line.get_xdata()[0]) for line in labelled(axes, "_instant")]
    assert ends == pytest.approx([at - chain.began_at for _name, at in chain.links[1:]])
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]
    assert bars[0] == pytest.approx((0.0, 0.02))
    assert [begin for begin, _end in bars[1:]] == pytest.approx([end for _begin, end in bars[:-1]])
    assert {"20 ms", "+ 0 ms = 20 ms", "+ 69 ms = 89 ms", "+ 0.83 s = 0.92 s"} <= set(written(figure))


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (lambda: run(kill_at=1.5, back_after=None), "not before the work ran out"),
        (lambda: run(kill_at=0.6), "cannot be said: too few results before the fault"),
        (lambda: run(tasks=60, kill_at=1.4), "cannot be said: too little work was left after it"),
        (
            lambda: with_notes(run(), note(2.0, "fault", fault="kill", target="redis")),
            "it did not fall noticeably",
        ),
    ],
)
def test_missing_link_shows_its_reason(events: Callable[[], list[Event]], reason: str) -> None:
    assert reason in written(charts.recovery(History(events())))


def test_crash_without_a_command_is_labelled_as_unintended() -> None:
    figure = charts.recovery(History(run(kill_at=1.5, injected=False)))
    assert figure.axes[0].get_title(loc="left") == "worker-2 lost at 1.52 s, not on purpose"
    assert charts.recovery_table(History(run(kill_at=1.5, injected=False))).rows[0][0] == "crash"


@pytest.mark.parametrize(
    ("cause", "word", "title"),
    [
        ("silent", "silence", "worker-2 lost at 1.52 s: silence"),
        ("lease", "hang", "worker-2 lost at 1.52 s: hang"),
        ("rejoined", "new hello", "worker-2 lost at 1.52 s: new hello"),
    ],
)
def test_loss_without_a_command_is_no_crash_unless_the_connection_closed(
    cause: str, word: str, title: str
) -> None:
    events = [
        event._replace(detail={"cause": cause}) if event.kind == "lost" else event
        for event in run(kill_at=1.5, injected=False)
    ]
    assert charts.recovery(History(events)).axes[0].get_title(loc="left") == title
    assert charts.recovery_table(History(events)).rows[0][0] == word


@pytest.mark.parametrize(
    ("polite", "word", "title"),
    [(True, "stop", "broker stopped, next one at 2.00 s"), (False, "crash", "new broker at 2.00 s")],
)
def test_broker_that_stopped_as_asked_is_not_called_lost(polite: bool, word: str, title: str) -> None:
    events = [note(0.0, "broker_started"), note(1.0, "submitted", task="a")]
    events += [note(1.9, "broker_stopped")] if polite else []
    history = History([*events, note(2.0, "broker_started"), note(2.1, "submitted", task="a")])
    assert charts.recovery(history).axes[0].get_title(loc="left") == title
    assert charts.recovery_table(history).rows[0][0] == word


def test_task_that_was_given_back_unstarted_is_not_drawn_as_computed_again() -> None:
    events = [
        note(0.0, "broker_started"),
        *(note(0.1, "joined", f"worker-{n}") for n in (1, 2)),
        note(0.2, "submitted", task="a"),
        note(0.3, "dispatched", "worker-2", "a", 1),
        note(0.5, "draining", "worker-2"),
        note(0.5, "requeued", "worker-2", "a", 1, cause="returned"),
        note(0.6, "dispatched", "worker-1", "a", 2),
        note(0.7, "started", "worker-1", "a", 2),
        note(0.9, "done", "worker-1", "a", 2, compute_s=0.2),
    ]
    assert "computed again" not in written(charts.gantt(History(events)))


def test_task_of_a_former_broker_is_drawn_as_computed_again() -> None:
    events: list[Event] = []
    for began in (0.0, 2.0):
        events += [
            note(began, "broker_started"),
            note(began + 0.1, "joined", "worker-1"),
            note(began + 0.2, "submitted", task="a"),
            note(began + 0.3, "dispatched", "worker-1", "a", 1),
            note(began + 0.4, "started", "worker-1", "a", 1),
        ]
    events.append(note(2.9, "done", "worker-1", "a", 1, compute_s=0.5))
    assert "computed again" in written(charts.gantt(History(events)))


def test_many_recoveries_are_stacked_and_the_rest_is_in_the_table() -> None:
    faults = [note(1.0 + i / 10, "fault", fault="pause", target="worker-1") for i in range(8)]
    history = History(with_notes(run(), *faults))
    figure = charts.recovery(history)
    assert len(figure.axes) == 6
    assert "2 more recoveries are in the table" in written(figure)
    assert len(charts.recovery_table(history).rows) == 8


def test_recovery_table_counts_from_the_fault(history: History) -> None:
    (row,) = charts.recovery_table(history).rows
    assert row[:2] == ("kill", "worker-2")
    assert row[2] == pytest.approx(1.5)
    assert row[3] == pytest.approx(0.02)
    assert row[7:] == (1, 0)


# --- share and overview -------------------------------------------------------------------------------------


def test_share_chart_has_a_bar_per_worker_with_count_and_part(history: History) -> None:
    figure = charts.share(history, until=1.5)
    counts = history.share(until=1.5)
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths == list(counts.values())
    assert {"20 (34 %)", "19 (32 %)", "equal shares"} <= set(written(figure))
    (equal,) = labelled(figure.axes[0], "_equal")
    assert equal.get_xdata()[0] == pytest.approx(sum(counts.values()) / 3)
    assert charts.share_table(history, until=1.5).rows[0] == ("worker-1", 20, pytest.approx(33.898, abs=0.01))


def test_worker_without_results_is_in_the_share_chart() -> None:
    history = History(with_notes(run(), note(0.3, "joined", "worker-9")))
    assert "0 (0 %)" in written(charts.share(history))


def test_workers_that_do_not_fit_are_counted() -> None:
    figure = charts.share(History(run(tasks=100, workers=30)))
    assert "results (6 more workers are not shown)" in written(figure)
    assert len(charts.share_table(History(run(tasks=100, workers=30))).rows) == 30


def test_overview_shows_all_charts_on_one_time_axis(history: History) -> None:
    figure = charts.overview(history)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:] == ["Who computed what", "Results before the fault", "kill worker-2 at 1.50 s"]
    above, middle = figure.axes[:2]
    assert above.get_xlim() == middle.get_xlim()
    assert above.get_position().x0 == middle.get_position().x0
    assert "180 of 180 tasks done by 3 workers in 3.34 s" in written(figure)


def test_overview_table_holds_the_runs_numbers(history: History) -> None:
    rows: dict[object, object] = {row[0]: row[1] for row in charts.overview_table(history).rows}
    assert rows["tasks submitted"] == rows["results delivered"] == 180
    assert rows["tasks failed"] == rows["tasks still open"] == 0
    assert rows["attempts requeued"] == 1
    assert (
        rows["kill worker-2 at 1.50 s: first result elsewhere after (s)"]
        == history.recoveries()[0].recovery_s
    )


# --- what is looked at --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [charts.throughput, charts.gantt, charts.recovery, charts.share])
def test_text_is_legible_in_a_window_of_1024_pixels(
    draw: Callable[[History], Chart], history: History
) -> None:
    chart = draw(history)
    pixels_per_point = chart.get_dpi() / 72
    assert min(float(text.get_fontsize()) for text in texts(chart)) * pixels_per_point >= 15


@pytest.mark.parametrize("draw", [charts.throughput, charts.gantt, charts.recovery])
def test_spanish_chart_has_decimal_commas_only(draw: Callable[[History], Chart], history: History) -> None:
    i18n.set_language("es")
    chart = draw(history)
    chart.draw_without_rendering()
    found = [text.get_text() for text in texts(chart)]
    assert any("," in text for text in found)
    assert [text for text in [*found, chart.labkit_alt] if re.search(r"\d\.\d", text)] == []
    i18n.set_language(None)


def test_picture_and_its_html_have_the_alternative_text(history: History) -> None:
    chart = charts.share(history)
    assert f'alt="{escape(chart.labkit_alt)}"' in chart._repr_html_()
    picture, metadata = chart._repr_png_()
    image = Image.open(io.BytesIO(picture))
    assert image.size[0] == 1000 and metadata["alt"] == chart.labkit_alt
    assert image.text["Description"] == chart.labkit_alt  # type: ignore[attr-defined]


def test_share_of_a_dozen_tasks_is_shown_without_decimals(history: History) -> None:
    shown = str(charts.share_table(history))
    assert re.search(r"\d+ +\d+$", shown, re.MULTILINE) and "." not in shown
