"""What came of a load: tasks asked for and done a second, and how long each waited; of a ramp, the knee."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from labkit.charts import style
from labkit.charts.style import AXIS_SPACE, LEGEND_LINE, MARGIN, SMALL, TITLE_SPACE, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import natural
from labkit.support.i18n import _
from labkit.support.palette import BLUE, FAULT, GREEN, GRID, INK, PALE, worker_colour
from labkit.support.percentiles import percentile
from labkit.support.text import Spoken, seconds

NUMBERS = 0.75
RATES_HEIGHT, WAITS_HEIGHT, RAMP_HEIGHT = 1.7, 2.3, 2.9
MARKS = 0.26
WINDOWS = 60
"""At most so many windows in which tasks are counted."""
SPANS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0, 60.0, 120.0)
"""How long a window may be: a divisor or a multiple of the time between two bursts."""
DOT, CROSS = "o", "x"


class LoadPoint(NamedTuple):
    """One task; instants are seconds since the load began."""

    planned: float
    ended: float
    waiting_s: float
    worker: str
    error: str = ""
    """Empty if it is done."""


class LoadStep(NamedTuple):
    """One rate of a ramp, in tasks per second; times in seconds, None without results."""

    rate: float
    achieved: float
    p50_s: float | None
    p95_s: float | None
    followed: bool


def load(points: Sequence[LoadPoint], kill: tuple[float, str] | None = None) -> Chart:
    """Return the chart of one load. ``kill``: when which worker was killed, in seconds since it began."""
    workers = sorted({point.worker for point in points if point.worker}, key=natural)
    failed = any(point.error for point in points)
    labels = [
        _("planned"),
        _("results"),
        *map(style.shortened, workers),
        *([_("without a result")] if failed else []),
        *_p95_label(points),
    ]
    width = WIDTH - NUMBERS - MARGIN
    top = TITLE_SPACE + (MARKS if kill else 0)
    middle = top + RATES_HEIGHT + AXIS_SPACE + TITLE_SPACE
    lines = style.legend_shape(labels, width)[1]
    chart = style.new_chart(middle + WAITS_HEIGHT + AXIS_SPACE + LEGEND_LINE * lines + MARGIN)
    rates = style.place(chart, NUMBERS, top, width, RATES_HEIGHT)
    waits = style.place(chart, NUMBERS, middle, width, WAITS_HEIGHT)
    above = MARKS if kill else 0
    style.dress(rates, _("Tasks planned, and results"), _("seconds"), _("tasks/s"), above)
    style.dress(waits, _("How long each task waited, from its planned instant"), _("seconds"), _("seconds"))
    chart.labkit_alt = _describe(points, kill)
    if not points:
        for axes in (rates, waits):
            style.write_empty(axes, _("no task was planned"))
            axes.set_xticks([])
        return chart
    end = max(max(point.ended for point in points), 0.1)
    handles = [*_draw_rates(rates, points, end), *_draw_waits(waits, points, workers, failed)]
    for axes in (rates, waits):
        axes.set_xlim(-0.01 * end, end * 1.02)
        _number_axes(axes)
        if kill:
            axes.axvline(kill[0], color=FAULT, linewidth=1.8, label="_kill")
    if kill:
        _name_kill(rates, kill, end, width)
    style.legend_below(waits, handles, labels)
    return chart


def load_table(points: Sequence[LoadPoint], kill: tuple[float, str] | None = None) -> Table:
    """Return the chart's numbers: per window begin, end (s), planned, done, not done, p95 of waiting (s)."""
    columns = (
        _("from (s)"),
        _("to (s)"),
        _("planned"),
        _("results"),
        _("without a result"),
        _("95 % wait at most (s)"),
    )
    if not points:
        return Table(columns, [])
    end = max(max(point.ended for point in points), 0.1)
    rows: list[tuple[object, ...]] = []
    for begin, until in _windows(points, end):
        ended = [point for point in points if begin < point.ended <= until or point.ended == begin == 0]
        waits = sorted(point.waiting_s for point in ended if not point.error)
        rows.append(
            (
                begin,
                until,
                sum(begin <= point.planned < until for point in points),
                len(waits),
                len(ended) - len(waits),
                percentile(waits, 0.95) if waits else None,
            )
        )
    return Table(columns, rows)


def ramp(steps: Sequence[LoadStep], bound_s: float, knee: float | None) -> Chart:
    """Return the chart of a ramp: p50 and p95 of waiting over the rate, and the bound.

    ``knee``: None if the search did not find it.
    """
    beyond = [step for step in steps if not step.followed and step.p95_s is not None]
    labels = [_("p95 of waiting"), _("p50 of waiting")]
    labels.append(_("bound: {time}").format(time=seconds(bound_s)))
    if beyond:
        labels.append(_("the cluster did not keep up"))
    if knee is not None:
        labels.append(_("knee: {rate} tasks/s").format(rate=_rate(knee)))
    width = WIDTH - NUMBERS - MARGIN
    lines = style.legend_shape(labels, width)[1]
    chart = style.new_chart(TITLE_SPACE + RAMP_HEIGHT + AXIS_SPACE + LEGEND_LINE * lines + MARGIN)
    axes = style.place(chart, NUMBERS, TITLE_SPACE, width, RAMP_HEIGHT)
    style.dress(axes, _("Waiting and the rate of tasks"), _("planned tasks/s"), _("seconds"))
    chart.labkit_alt = _describe_ramp(steps, bound_s, knee)
    tried = sorted(step for step in steps if step.p95_s is not None)
    if not tried:
        style.write_empty(axes, _("no rate had a result"))
        axes.set_xticks([])
        return chart
    rates = [step.rate for step in tried]
    for values, colour, marker, label in (
        ([step.p95_s or 0.0 for step in tried], BLUE, "o", "_p95"),
        ([step.p50_s or 0.0 for step in tried], GREEN, "^", "_p50"),
    ):
        axes.plot(rates, values, color=colour, marker=marker, markersize=6, linewidth=1.6, label=label)
    axes.plot(
        [step.rate for step in beyond],
        [step.p95_s or 0.0 for step in beyond],
        linestyle="none",
        marker=CROSS,
        markersize=11,
        markeredgewidth=2,
        color=FAULT,
        label="_beyond",
        zorder=4,
    )
    axes.axhline(bound_s, color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="_bound")
    if knee is not None:
        axes.axvline(knee, color=PALE, linewidth=1.6, linestyle=(0, (1, 1.5)), label="_knee")
    axes.grid(axis="y", color=GRID)
    axes.set_xlim(0, max(rates) * 1.05)
    # A rate far beyond the knee waits so long that the rest would be a flat line.
    longest_s = max(step.p95_s or 0.0 for step in tried)
    axes.set_ylim(0, 1.1 * max(bound_s, min(longest_s, 4 * bound_s)))
    _number_axes(axes)
    style.legend_below(axes, _ramp_handles(bool(beyond), knee is not None), labels)
    return chart


def ramp_table(steps: Sequence[LoadStep], bound_s: float, knee: float | None) -> Table:
    """Return the chart's numbers, a row per rate: planned and achieved tasks/s, p50 and p95 (s), followed."""
    columns = (_("planned tasks/s"), _("results/s"), _("p50 of waiting"), _("p95 of waiting"), _("kept up"))
    return Table(
        columns,
        [(s.rate, s.achieved, s.p50_s, s.p95_s, _("yes") if s.followed else _("no")) for s in sorted(steps)],
    )


# --- parts --------------------------------------------------------------------------------------------------


def _windows(points: Sequence[LoadPoint], end: float) -> list[tuple[float, float]]:
    """Return windows of a round length. Each holds as many of the bursts, which come every two seconds."""
    count = max(1, min(WINDOWS, len(points) // 8, int(end / 0.25) or 1))
    span = next((span for span in SPANS_S if span * count >= end), end / count)
    return [(span * n, span * (n + 1)) for n in range(max(1, ceil(end / span)))]


def _draw_rates(axes: Axes, points: Sequence[LoadPoint], end: float) -> list[Line2D]:
    windows = _windows(points, end)
    edges = [begin for begin, _until in windows] + [windows[-1][1]]
    span = edges[1] - edges[0]
    planned = _counted([point.planned for point in points], edges)
    done = _counted([point.ended for point in points if not point.error], edges)
    axes.stairs([n / span for n in done], edges, fill=True, color=PALE, alpha=0.45, label="_done")
    axes.stairs([n / span for n in planned], edges, color=INK, linewidth=1.8, label="_planned")
    axes.set_ylim(0, max(*planned, *done, 1) / span * 1.1)
    axes.grid(axis="y", color=GRID)
    return [
        Line2D([], [], color=INK, linewidth=1.8),
        Line2D([], [], color=PALE, alpha=0.45, linewidth=8),
    ]


def _counted(instants: Sequence[float], edges: Sequence[float]) -> list[int]:
    counts = [0] * (len(edges) - 1)
    for at in instants:
        counts[min(len(counts) - 1, int(at / edges[1]))] += 1
    return counts


def _draw_waits(axes: Axes, points: Sequence[LoadPoint], workers: list[str], failed: bool) -> list[Line2D]:
    handles = []
    for worker in workers:
        of = [point for point in points if point.worker == worker and not point.error]
        handles.append(_dots(axes, of, worker_colour(worker), DOT))
    if failed:
        handles.append(_dots(axes, [point for point in points if point.error], FAULT, CROSS))
    waits = sorted(point.waiting_s for point in points if not point.error)
    if waits:
        p95_s = percentile(waits, 0.95)
        axes.axhline(p95_s, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="_p95", zorder=4)
        handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (4, 2))))
    most = max((point.waiting_s for point in points), default=0.0) or 0.01
    axes.set_ylim(-0.04 * most, most * 1.2)
    axes.grid(axis="y", color=GRID)
    return handles


def _p95_label(points: Sequence[LoadPoint]) -> list[str]:
    """Return what the legend calls the line of the p95; beside the line it would lie on the dots."""
    waits = sorted(point.waiting_s for point in points if not point.error)
    if not waits:
        return []
    return [_("95 % waited at most {time}").format(time=seconds(percentile(waits, 0.95)))]


def _dots(axes: Axes, points: Sequence[LoadPoint], colour: str, marker: str) -> Line2D:
    """Draw tasks at their planned instants; return what stands for them in the legend."""
    looks: dict[str, Any] = {
        "linestyle": "none",
        "marker": marker,
        "markersize": 5,
        "color": colour,
        "markeredgewidth": 1.4,
    }
    if marker == DOT:
        looks |= {"markeredgecolor": "white", "markeredgewidth": 0.4}
    axes.plot(
        [point.planned for point in points], [point.waiting_s for point in points], label="_tasks", **looks
    )
    return Line2D([], [], **(looks | {"markersize": 7}))


def _number_axes(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _at: f"{Spoken(value):g}"))


def _name_kill(axes: Axes, kill: tuple[float, str], end: float, width: float) -> None:
    text = style.shortened(_("{worker} killed").format(worker=kill[1]), 2.5)
    leftwards = kill[0] / (end * 1.02) * width + style.inches(text, bold=True) + 0.1 > width
    axes.annotate(
        text,
        (kill[0], 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if leftwards else 3, 3),
        textcoords="offset points",
        ha="right" if leftwards else "left",
        va="bottom",
        fontsize=SMALL,
        fontweight="bold",
        color=FAULT,
        annotation_clip=False,
        parse_math=False,
    )


def _ramp_handles(has_beyond: bool, has_knee: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=6, linewidth=1.6),
        Line2D([], [], color=GREEN, marker="^", markersize=6, linewidth=1.6),
        Line2D([], [], color=INK, linewidth=1.4, linestyle=(0, (4, 2))),
    ]
    if has_beyond:
        cross = {"marker": CROSS, "markersize": 9, "markeredgewidth": 2, "color": FAULT}
        handles.append(Line2D([], [], linestyle="none", **cross))  # type: ignore[arg-type]
    if has_knee:
        handles.append(Line2D([], [], color=PALE, linewidth=1.6, linestyle=(0, (1, 1.5))))
    return handles


def _rate(rate: float) -> str:
    return f"{Spoken(rate):.3g}" if rate < 1000 else f"{rate:.0f}"


def _describe(points: Sequence[LoadPoint], kill: tuple[float, str] | None) -> str:
    waits = sorted(point.waiting_s for point in points if not point.error)
    text = _("{tasks} tasks planned, {done} with a result.").format(tasks=len(points), done=len(waits))
    if waits:
        text += " " + _("Half of them waited at most {half}, 95 % at most {most}.").format(
            half=seconds(percentile(waits, 0.5)), most=seconds(percentile(waits, 0.95))
        )
    if kill:
        text += " " + _("{worker} was killed after {time}.").format(worker=kill[1], time=seconds(kill[0]))
    return text


def _describe_ramp(steps: Sequence[LoadStep], bound_s: float, knee: float | None) -> str:
    told = ", ".join(f"{_rate(s.rate)} → {seconds(s.p95_s)}" for s in sorted(steps) if s.p95_s)
    text = _("p95 of waiting by planned tasks/s: {told}.").format(told=told or _("no rate had a result"))
    bound = seconds(bound_s)
    if knee is None and any(step.followed for step in steps):
        return text + " " + _("The knee was not found.")
    if knee is None:
        return text + " " + _("At no rate did it stay below {bound}.").format(bound=bound)
    return (
        text + " " + _("It stays below {bound} up to {rate} tasks/s.").format(bound=bound, rate=_rate(knee))
    )
