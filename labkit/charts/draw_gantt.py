"""Gantt chart of a run: one row per worker and slot, one bar per attempt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from labkit.charts import style
from labkit.charts.marks import View, draw_marks, in_words, marks_height, marks_of, outages, view_of
from labkit.charts.style import MARGIN, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History, Interval
from labkit.core.history.causes import NOT_TAKEN, REASONS, RETURNED
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, GRID, INK, mixed, worker_colour
from labkit.support.text import seconds

ROW = 0.42
"""Height of a row in inches, if there is room."""
HIGHEST = 9.0
BAR = 0.74
"""Height of a bar as a part of its row."""
MAX_ARROWS = 12
"""More arrows than this, each from a lost attempt to its repetition, would cover the bars."""
THIN_PX = 5.0
"""Bars get no outline if their median is narrower than this, because it would hide their colour."""

INTERRUPTED = frozenset({"lost", "requeued", "orphaned"})


def gantt(history: History) -> Chart:
    """Return the chart of all attempts: a row per worker and slot, outages shaded, faults marked.

    An attempt lost with its worker is pale and crossed out. A repeated attempt is hatched, and an arrow leads
    to it from the end of the lost one.
    """
    view = view_of(history)
    bars = bars_of(history)
    left = names_width(history)
    width = WIDTH - left - MARGIN
    above = style.TITLE_SPACE + marks_height(marks_of(history), view, width)
    height = rows_height(history, HIGHEST)
    chart = style.new_chart(above + height + height_below(history, bars, width))
    draw_gantt(style.place(chart, left, above, width, height), history, view, bars)
    chart.labkit_alt = _describe(history, bars)
    return chart


def gantt_table(history: History) -> Table:
    """Return the chart's numbers, a row per attempt: worker, slot, task, attempt, begin, end (s), outcome."""
    columns = (
        _("worker"),
        _("slot"),
        _("task"),
        _("attempt"),
        _("from (s)"),
        _("to (s)"),
        _("outcome"),
    )
    return Table(
        columns,
        [
            (i.worker, i.slot + 1, i.task, i.attempt, i.start, i.end, outcome_in_words(i.outcome, i.cause))
            for i in sorted(bars_of(history), key=lambda i: i.start)
        ],
    )


def outcome_in_words(outcome: str, cause: str = "") -> str:
    """Return the outcome of an attempt in the reader's language; ``cause``: why it was requeued."""
    if outcome == "requeued" and cause in REASONS and cause not in (RETURNED, NOT_TAKEN):
        return _("requeued: {why}").format(why=_(REASONS[cause]))
    words = {
        "done": _("done"),
        "failed": _("failed"),
        "lost": _("lost with its worker"),
        "requeued": _("given back"),
        "cancelled": _("cancelled"),
        "superseded": _("another result came first"),
        "orphaned": _("its broker is gone"),
        "": _("still running"),
    }
    return words.get(outcome, outcome)


def bars_of(history: History) -> list[Interval]:
    """Return the attempts to draw."""
    return [interval for of_worker in history.intervals().values() for interval in of_worker]


def names_width(history: History) -> float:
    """Return how many inches the workers' names need at the left."""
    return min(style.widest(list(history.slots())), style.LONGEST_NAME) + 0.12 + MARGIN


def rows_height(history: History, highest: float) -> float:
    """Return how many inches high the rows are, at most ``highest``."""
    return min(ROW * max(sum(history.slots().values()), 2), highest)


def height_below(history: History, bars: list[Interval], width: float) -> float:
    """Return how many inches axis and legend need below axes ``width`` inches wide."""
    lines = style.legend_shape([label for _patch, label in _legend(history, bars)], width)[1]
    return style.AXIS_SPACE + style.LEGEND_LINE * lines + MARGIN


def draw_gantt(axes: Axes, history: History, view: View, bars: list[Interval], title: str = "") -> None:
    """Draw the chart into axes whose time axis is ``view``."""
    slots = history.slots()
    rows: dict[tuple[str, int], int] = {}
    for worker, count in slots.items():
        for slot in range(count):
            rows[worker, slot] = len(rows)
    marks = marks_of(history)
    above = marks_height(marks, view, style.size_of(axes)[0])
    style.dress(axes, title or _("Who computed what"), _("seconds since the first event"), above=above)
    axes.set_xlim(view.since, view.until)
    axes.set_ylim(max(len(rows), 1) - 0.45, -0.55)  # the first worker on top
    for worker, begin, end in [
        (worker, *span) for worker, spans in outages(history).items() for span in spans
    ]:
        first, count = (0, len(rows)) if worker == "broker" else (rows[worker, 0], slots[worker])
        axes.fill_between(
            [begin, min(end, view.until)],
            first - 0.5,
            first + count - 0.5,
            color=FAULT,
            alpha=0.16,
            linewidth=0,
            label="_outage",
            zorder=0.5,
        )
    if bars:
        _draw_bars(axes, bars, rows, view)
        _draw_losses(axes, bars, rows)
    else:
        style.write_empty(axes, _("no task was computed"))
    _name_rows(axes, slots)
    draw_marks(axes, marks, view)
    legend = _legend(history, bars)
    style.legend_below(axes, [patch for patch, _label in legend], [label for _patch, label in legend])


def _next_bars(bars: list[Interval]) -> dict[Interval, Interval]:
    """Return for each bar the next one of its task. Numbers of attempts begin again with a new broker."""
    latest: dict[str, Interval] = {}
    following: dict[Interval, Interval] = {}
    for bar in sorted(bars, key=lambda bar: bar.start):
        if bar.task in latest:
            following[latest[bar.task]] = bar
        latest[bar.task] = bar
    return following


def _repeated(bars: list[Interval]) -> frozenset[Interval]:
    """Return the bars of tasks that had begun before. One that only waited at a worker has no bar there."""
    return frozenset(_next_bars(bars).values())


def _style(bar: Interval, repeated: Container[Interval]) -> str:
    if bar.outcome in INTERRUPTED:
        return "interrupted"
    if bar.outcome not in ("done", ""):
        return "in vain"
    return "repeated" if bar in repeated else "first"


def _look(kind: str, colour: str) -> dict[str, Any]:
    """Return how bars of a kind look in a worker's colour."""
    pale = mixed(colour, 1.0, 0.7)
    return {
        "first": {"facecolor": colour, "edgecolor": "white", "linewidth": 0.6, "zorder": 2},
        "repeated": {"facecolor": colour, "edgecolor": INK, "linewidth": 1.2, "hatch": "////", "zorder": 3},
        "interrupted": {
            "facecolor": pale,
            "edgecolor": FAULT,
            "linewidth": 1.2,
            "hatch": "xxxx",
            "zorder": 3,
        },
        "in vain": {"facecolor": pale, "edgecolor": INK, "linewidth": 1.0, "hatch": "....", "zorder": 3},
    }[kind]


def _draw_bars(axes: Axes, bars: list[Interval], rows: dict[tuple[str, int], int], view: View) -> None:
    pixel = view.span / (style.size_of(axes)[0] * style.DPI)
    widths = sorted(bar.end - bar.start for bar in bars)
    thin = widths[len(widths) // 2] < THIN_PX * pixel
    spans: dict[tuple[str, int, str], list[tuple[float, float]]] = defaultdict(list)
    repeated = _repeated(bars)
    for bar in bars:
        of_row = spans[bar.worker, bar.slot, _style(bar, repeated)]
        if thin and of_row and bar.start - of_row[-1][1] < pixel / 10:  # the gap would be invisible
            of_row[-1] = of_row[-1][0], bar.end
        else:
            of_row.append((bar.start, bar.end))
    kinds: dict[tuple[str, str], list[list[tuple[float, float]]]] = defaultdict(list)
    for (worker, slot, kind), of_row in spans.items():
        top, bottom = rows[worker, slot] - BAR / 2, rows[worker, slot] + BAR / 2
        for begin, end in of_row:
            end = max(end, begin + pixel)  # every attempt stays visible
            kinds[worker, kind].append([(begin, top), (end, top), (end, bottom), (begin, bottom)])
    for (worker, kind), polygons in kinds.items():
        look = _look(kind, worker_colour(worker))
        if thin and kind == "first":
            look["linewidth"] = 0
        collection = PolyCollection(polygons, label=f"_{kind} {worker}", **look)
        collection.set_snap(not thin)  # snapping very thin bars to pixels would leave meaningless gaps
        axes.add_collection(collection, autolim=False)


def _draw_losses(axes: Axes, bars: list[Interval], rows: dict[tuple[str, int], int]) -> None:
    """Mark the ends of lost attempts, with an arrow to the next attempt of the same task."""
    lost = [bar for bar in bars if bar.outcome in INTERRUPTED]
    axes.plot(
        [bar.end for bar in lost],
        [rows[bar.worker, bar.slot] for bar in lost],
        linestyle="none",
        marker="X",
        markersize=9,
        markerfacecolor=FAULT,
        markeredgecolor="white",
        label="_lost",
        zorder=6,
    )
    following = _next_bars(bars)
    for bar in lost[:MAX_ARROWS]:
        again = following.get(bar)
        if again is None:
            continue
        begin, end = rows[bar.worker, bar.slot], rows[again.worker, again.slot]
        towards = (end > begin) - (end < begin)
        axes.annotate(
            "",
            xy=(again.start, end - towards * BAR / 2),
            xytext=(bar.end, begin + towards * BAR / 2),
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0},
            zorder=5,
        )


def _name_rows(axes: Axes, slots: dict[str, int]) -> None:
    """Write each worker's name once, in the middle of its slots; leave names out where they would overlap."""
    axes.tick_params(axis="y", length=0)
    if not slots:
        return
    per_worker = style.size_of(axes)[1] / len(slots)
    every = max(1, round(0.16 / per_worker))
    ticks, names, first = [], [], 0
    for number, (worker, count) in enumerate(slots.items()):
        if number % every == 0:
            ticks.append(first + (count - 1) / 2)
            names.append(style.shortened(worker))
        if first and every == 1:
            axes.axhline(first - 0.5, color=GRID, linewidth=0.8, zorder=0)
        first += count
    axes.set_yticks(ticks, names, parse_math=False)


def _legend(history: History, bars: list[Interval]) -> list[tuple[Patch, str]]:
    grey = "#A6A6A6"
    labels = {
        "first": _("computed"),
        "interrupted": _("interrupted"),
        "repeated": _("computed again"),
        "in vain": _("without a result"),
    }
    repeated = _repeated(bars)
    present = {_style(bar, repeated) for bar in bars}
    legend = [(Patch(**_look(kind, grey)), label) for kind, label in labels.items() if kind in present]
    if outages(history):
        legend.append((Patch(facecolor=FAULT, alpha=0.16), _("from the fault until it joined again")))
    return legend


def _describe(history: History, bars: list[Interval]) -> str:
    if not bars:
        return " ".join([_("Who computed what: no task was computed."), *in_words(history)])
    workers = len(history.slots())
    text = ngettext(
        "Who computed what: {bars} attempt on {workers} in {span}.",
        "Who computed what: {bars} attempts on {workers} in {span}.",
        len(bars),
    ).format(
        bars=len(bars),
        workers=ngettext("{n} worker", "{n} workers", workers).format(n=workers),
        span=seconds(max(bar.end for bar in bars) - min(bar.start for bar in bars)),
    )
    lost = sum(bar.outcome in INTERRUPTED for bar in bars)
    again = len(_repeated(bars))
    sentences = [text]
    if lost or again:
        sentences.append(_("Interrupted: {lost}; computed again: {again}.").format(lost=lost, again=again))
    return " ".join([*sentences, *in_words(history)])
