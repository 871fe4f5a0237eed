"""Two runs of the same tasks side by side, such as a recording and its replay."""

from __future__ import annotations

from labkit.charts import draw_gantt, style
from labkit.charts.marks import View, marks_height, marks_of, view_of
from labkit.charts.style import MARGIN, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History
from labkit.support.i18n import _, ngettext
from labkit.support.text import seconds

HIGHEST = 6.0
BETWEEN = 0.15
"""Inches between the left half and the names of the right one."""


def side_by_side(left: History, right: History, names: tuple[str, str]) -> Chart:
    """Return the attempts of two histories next to each other, with the same seconds on both axes.

    Both begin with their first task, so that equal instants stand at equal places.
    """
    histories = left, right
    views = [view_of(history) for history in histories]
    view = View(
        min(one.since for one in views),
        max(one.until for one in views),
        min(one.begin for one in views),
        max(one.end for one in views),
    )
    workers = max(map(draw_gantt.names_width, histories))
    half = (WIDTH - MARGIN - BETWEEN) / 2
    width = half - workers
    bars = [draw_gantt.bars_of(history) for history in histories]
    above = style.TITLE_SPACE + max(marks_height(marks_of(history), view, width) for history in histories)
    height = max(draw_gantt.rows_height(history, HIGHEST) for history in histories)
    below = max(map(draw_gantt.height_below, histories, bars, (width, width)))
    chart = style.new_chart(above + height + below)
    for number, (name, history, of) in enumerate(zip(names, histories, bars, strict=True)):
        axes = style.place(chart, number * (half + BETWEEN) + workers, above, width, height)
        draw_gantt.draw_gantt(axes, history, view, of, title=style.shortened(name, width, style.TITLE))
    chart.labkit_alt = " ".join(map(_describe, names, histories))
    return chart


def side_by_side_table(left: History, right: History, names: tuple[str, str]) -> Table:
    """Return the attempts of both histories, a row each; the first column names the history."""
    tables = draw_gantt.gantt_table(left), draw_gantt.gantt_table(right)
    rows = [(name, *row) for name, table in zip(names, tables, strict=True) for row in table.rows]
    return Table((_("what"), *tables[0].columns), rows)


def _describe(name: str, history: History) -> str:
    rows = history.ledger()
    workers = len(history.slots())
    return _("{name}: {tasks} on {workers}, done after {span}.").format(
        name=name,
        tasks=ngettext("{n} task", "{n} tasks", len(rows)).format(n=len(rows)),
        workers=ngettext("{n} worker", "{n} workers", workers).format(n=workers),
        span=seconds(max((row.ended for row in rows if row.ended is not None), default=0.0)),
    )
