"""A league of policies: one panel for each figure, one bar for each policy, the winner on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.errors import N_
from labkit.support.i18n import _
from labkit.support.palette import BLUE, INK, PALE
from labkit.support.text import Spoken

ROW = 0.34
GAP = 0.30
"""Between two panels."""
PANELS = (
    ("makespan_s", N_("makespan"), N_("seconds"), 2),
    ("waiting_p95_s", N_("wait (p95)"), N_("seconds"), 2),
    ("fairness", N_("fairness"), N_("1 is equal"), 2),
    ("wasted_s", N_("done twice"), N_("seconds"), 1),
    ("violations", N_("violations"), N_("number"), 0),
)
"""Field, title, unit and digits of each panel, from left to right."""


class Ranked(NamedTuple):
    """One policy of the league; the columns of its table."""

    name: str
    makespan_s: float
    waiting_p95_s: float
    fairness: float
    wasted_s: float
    violations: int


def league(rows: Sequence[Ranked]) -> Chart:
    """Return the chart of a league; ``rows`` are in the order of the places."""
    names = [f"{place}  {style.shortened(row.name)}" for place, row in enumerate(rows, 1)]
    left = style.widest(names) + 0.14 + MARGIN
    height = ROW * max(len(rows), 1)
    chart = style.new_chart(style.TITLE_SPACE + height + style.AXIS_SPACE + MARGIN)
    width = (WIDTH - left - MARGIN - GAP * (len(PANELS) - 1)) / len(PANELS)
    sentences = [_("League of policies.")]
    for number, (field, title, unit, digits) in enumerate(PANELS):
        axes = style.place(chart, left + number * (width + GAP), style.TITLE_SPACE, width, height)
        style.dress(axes, _(title), _(unit))
        values = [float(getattr(row, field)) if _is_known(row, field) else 0.0 for row in rows]
        words = [_figure(row, field, digits) for row in rows]
        room = max(width - style.widest(words) - 0.12, width / 3)
        axes.set_xlim(0, (max(values, default=0.0) or 1.0) * width / room)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        colours = [BLUE, *[PALE] * (len(rows) - 1)][: len(rows)]
        axes.barh(range(len(rows)), values, 0.62, color=colours, label=f"_{field}")
        for place, (value, word) in enumerate(zip(values, words, strict=True)):
            axes.annotate(
                word, (value, place), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=SMALL, color=INK,
            )  # fmt: skip
        axes.set_xticks([])  # each bar has its number
        axes.set_yticks(range(len(rows)), names if number == 0 else [""] * len(rows), parse_math=False)
        axes.tick_params(axis="y", length=0)
    if not rows:
        style.write_empty(chart.axes[len(PANELS) // 2], _("no policy played"))
    for place, row in enumerate(rows, 1):
        figures = [f"{_(title)} {_figure(row, field, digits)}" for field, title, _unit, digits in PANELS]
        sentences.append(f"{place}: {row.name}: {', '.join(figures)}.")
    chart.labkit_alt = " ".join(sentences)
    return chart


def _figure(row: Ranked, field: str, digits: int) -> str:
    return f"{Spoken(getattr(row, field)):.{digits}f}" if _is_known(row, field) else "–"


def _is_known(row: Ranked, field: str) -> bool:
    """Return whether there is such a figure: a policy that never had anything done has only violations."""
    return bool(row.makespan_s) or field == "violations"


def league_table(rows: Sequence[Ranked]) -> Table:
    """Return the chart's numbers: place, name, makespan, wait, fairness, repeated work, violations."""
    columns = (_("place"), _("policy"), *(_(title) for _field, title, _unit, _digits in PANELS))
    return Table(columns, [(place, *row) for place, row in enumerate(rows, 1)])
