"""How the work was distributed: results per worker in a period."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table, Whole
from labkit.core.history import History
from labkit.support.i18n import _, ngettext
from labkit.support.palette import INK, PALE, worker_colour
from labkit.support.text import Spoken

ROW = 0.42
MAX_BARS = 24
THINNEST = 0.17
"""Inches that a row needs for its text."""
EQUAL = 0.19
"""Inches for the text above the axes."""


def share(history: History, since: float = 0.0, until: float | None = None) -> Chart:
    """Return the chart of results per worker from ``since`` up to ``until`` (s since the first event)."""
    left = names_width(history)
    above = style.TITLE_SPACE + EQUAL
    height = ROW * min(max(len(history.share(since, until)), 2), MAX_BARS)
    chart = style.new_chart(above + height + style.AXIS_SPACE + MARGIN)
    axes = style.place(chart, left, above, WIDTH - left - MARGIN, height)
    draw_share(axes, history, since, until)
    chart.labkit_alt = _describe(history.share(since, until), _period(since, until))
    return chart


def share_table(history: History, since: float = 0.0, until: float | None = None) -> Table:
    """Return the chart's numbers: worker, results, and their part of all results in per cent."""
    counts = history.share(since, until)
    total = sum(counts.values())
    return Table(
        (_("worker"), _("results"), _("share (%)")),
        [(worker, n, Whole(100 * n / total) if total else None) for worker, n in counts.items()],
    )


def names_width(history: History) -> float:
    """Return how many inches the workers' names need at the left."""
    return min(style.widest(list(history.slots())), style.LONGEST_NAME) + 0.12 + MARGIN


def draw_share(
    axes: Axes, history: History, since: float = 0.0, until: float | None = None, title: str = ""
) -> None:
    """Draw the chart into axes."""
    counts = history.share(since, until)
    total = sum(counts.values())
    width, height = style.size_of(axes)
    shown = list(counts.items())[: min(MAX_BARS, int(height / THINNEST))]
    left_out = len(counts) - len(shown)
    label = _("results")
    if left_out > 0:
        more = ngettext("{n} more worker is not shown", "{n} more workers are not shown", left_out)
        label = f"{label} ({more.format(n=left_out)})"
    title = title or _("Results per worker, {period}").format(period=_period(since, until))
    style.dress(axes, title, label, above=EQUAL)
    if not counts:
        style.write_empty(axes, _("no worker was there"))
        axes.set_xticks([])
        return
    words = [_words(n, total) for _worker, n in shown]
    most = max(max(n for _worker, n in shown), 1)
    axes.set_xlim(0, most * width / max(width - style.widest(words) - 0.2, width / 3))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    rows = range(len(shown))
    axes.barh(
        rows, [n for _worker, n in shown], color=[worker_colour(worker) for worker, _n in shown], height=0.7
    )
    axes.set_yticks(rows, [style.shortened(worker) for worker, _n in shown], parse_math=False)
    axes.tick_params(axis="y", length=0)
    if total and len(counts) > 1:
        equal = total / len(counts)
        axes.axvline(equal, color=INK, linestyle=(0, (3, 2)), linewidth=1.2, label="_equal")
        axes.annotate(
            _("equal shares"),
            (equal, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=PALE,
        )
    for row, (_worker, n) in enumerate(shown):
        axes.annotate(
            words[row],
            (n, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )


def _words(n: int, total: int) -> str:
    return _("{n} ({part:.0f} %)").format(n=n, part=100 * n / total) if total else str(n)


def _period(since: float, until: float | None) -> str:
    if until is None:
        return _("whole run") if since <= 0 else _("from {since:.2f} s on").format(since=Spoken(since))
    if since <= 0:
        return _("until {until:.2f} s").format(until=Spoken(until))
    return _("from {since:.2f} s until {until:.2f} s").format(since=Spoken(since), until=Spoken(until))


def _describe(counts: dict[str, int], period: str) -> str:
    total = sum(counts.values())
    if not total:
        return _("Results per worker, {period}: none.").format(period=period)
    parts = ", ".join(f"{worker} {_words(n, total)}" for worker, n in counts.items())
    return _("Results per worker, {period}: {parts}.").format(period=period, parts=parts)
