"""Timeline of calls recorded by `labkit.support.timing.Recording`, one row per thread."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import natural
from labkit.support.i18n import _, ngettext
from labkit.support.palette import worker_colour
from labkit.support.text import seconds
from labkit.support.timing import Span

ROW = 0.30
MAX_ROWS = 24


def timeline(spans: Sequence[Span]) -> Chart:
    """Return the chart of these calls, a bar for each from its beginning to its end."""
    rows = _rows(spans)[:MAX_ROWS]
    left = min(style.widest(rows), style.LONGEST_NAME) + 0.12 + MARGIN
    height = ROW * max(len(rows), 2)
    chart = style.new_chart(style.TITLE_SPACE + height + style.AXIS_SPACE + MARGIN)
    axes = style.place(chart, left, style.TITLE_SPACE, WIDTH - left - MARGIN, height)
    label = _("seconds since the first call")
    left_out = len(_rows(spans)) - len(rows)
    if left_out > 0:
        more = ngettext("{n} more row is not shown", "{n} more rows are not shown", left_out)
        label = f"{label} ({more.format(n=left_out)})"
    style.dress(axes, _("Who did what when"), label)
    chart.labkit_alt = _describe(spans)
    if not spans:
        style.write_empty(axes, _("nothing was recorded"))
        axes.set_xticks([])
        return chart
    first = min(span.begin for span in spans)
    last = max(span.end for span in spans) - first
    axes.set_xlim(0, (last or 1.0) * 1.02)  # room for the last number
    axes.set_ylim(len(rows) - 0.4, -0.6)
    inches_per_s = style.size_of(axes)[0] / axes.get_xlim()[1]
    for span in spans:
        if span.who not in rows:
            continue
        row = rows.index(span.who)
        length = span.end - span.begin
        axes.barh(
            row,
            length,
            0.74,
            left=span.begin - first,
            color=worker_colour(span.who),
            edgecolor="white",
            linewidth=1.0,
            label="_call",
        )
        if style.inches(span.what) + 0.1 < length * inches_per_s:
            middle = span.begin - first + length / 2
            axes.text(
                middle,
                row,
                span.what,
                ha="center",
                va="center",
                fontsize=SMALL,
                color=_on(worker_colour(span.who)),
                parse_math=False,
            )
    axes.set_yticks(range(len(rows)), [style.shortened(row) for row in rows], parse_math=False)
    axes.tick_params(axis="y", length=0)
    return chart


def timeline_table(spans: Sequence[Span]) -> Table:
    """Return, for each thread: how many calls, and the seconds that they took together."""
    rows: list[tuple[object, ...]] = []
    for who in _rows(spans):
        mine = [span for span in spans if span.who == who]
        rows.append((who, len(mine), sum(span.end - span.begin for span in mine)))
    return Table((_("who"), _("calls"), _("seconds in calls")), rows)


def _rows(spans: Sequence[Span]) -> list[str]:
    return sorted({span.who for span in spans}, key=natural)


def _on(colour: str) -> str:
    """Return black or white, whichever is legible on this colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"


def _describe(spans: Sequence[Span]) -> str:
    if not spans:
        return _("Who did what when: nothing was recorded.")
    last = max(span.end for span in spans) - min(span.begin for span in spans)
    parts = ", ".join(f"{row[0]} {row[1]}" for row in timeline_table(spans).rows)
    return _("Who did what when, in {time} altogether; calls of each: {parts}.").format(
        time=seconds(last), parts=parts
    )
