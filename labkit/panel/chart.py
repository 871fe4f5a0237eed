"""The panel's live chart: results per second and worker over the last half minute, as one small SVG.

It is redrawn every half second in a kernel that has other work, so it is text and not a matplotlib figure: a
thousandth of the work. Colours, fault lines and units are those of ``labkit.charts``. The cards show the
numbers of its last seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from labkit.core.history import natural
from labkit.panel.feed import CHART_S, Mark
from labkit.panel.view import Moment
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, GRID, INK, PALE, worker_colour
from labkit.support.text import Spoken

WIDTH, HEIGHT = 720, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 58, 34
NAME_LINES = 4
IN_A_ROW_PX = 60
"""Marks of one kind that are no farther apart share a name where there is no room for each."""
NAME_PX = 6.2
"""The approximate width of a letter in a mark's name."""
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def chart_svg(moment: Moment) -> str:
    """Return the chart as an ``<svg>`` element, with a description for screen readers."""
    workers = sorted({name for second in moment.seconds for name in second.by_worker}, key=natural)
    end = int(moment.now)
    begin = max(0, end - CHART_S)
    highest, step = _scale(max((sum(s.by_worker.values()) for s in moment.seconds), default=0))
    parts = [_frame(begin, highest, step)]
    for second in moment.seconds:
        below = 0
        for name in workers:
            n = second.by_worker.get(name, 0)
            if n:
                parts.append(_bar(second.t - begin, below, n, highest, name))
                below += n
    parts += _marks(moment.marks, begin)
    parts.append(_legend(workers))
    said = escape(describe(moment))
    return (
        f'<svg class="lk-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11">'
        f"<title>{said}</title>{''.join(parts)}</svg>"
    )


def describe(moment: Moment) -> str:
    """Return the chart in words."""
    total = sum(sum(second.by_worker.values()) for second in moment.seconds)
    text = ngettext(
        "Throughput of the last {s} s: {n} result.", "Throughput of the last {s} s: {n} results.", total
    ).format(s=CHART_S, n=total)
    marks = [_("At {at:.1f} s: {what}.").format(at=Spoken(mark.t), what=mark.text) for mark in moment.marks]
    return " ".join([text, *marks])


def _scale(most: int) -> tuple[int, int]:
    """Return the end of the axis and the distance of its lines: at most five, at round numbers."""
    step = next((step for step in STEPS if step * 4 >= most), STEPS[-1])
    return max(1, -(-most // step)) * step, step


def _x(t: float) -> float:
    return LEFT + t / CHART_S * (WIDTH - LEFT - RIGHT)


def _y(n: float, highest: int) -> float:
    return HEIGHT - BOTTOM - n / highest * (HEIGHT - TOP - BOTTOM)


def _frame(begin: int, highest: int, step: int) -> str:
    lines = []
    for n in range(0, highest + 1, step):
        y = _y(n, highest)
        colour = INK if n == 0 else GRID
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="lk-ink">{n}</text>'
        )
    for t in range(begin, begin + CHART_S + 1):
        if t % 5 == 0:
            lines.append(
                f'<text x="{_x(t - begin):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle" '
                f'class="lk-ink">{t}</text>'
            )
    label = escape(_("seconds since the first event"))
    unit = escape(_("results per second"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return (
        f"{''.join(lines)}"
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle" class="lk-ink">'
        f"{label}</text>"
        f'<text x="12" y="{middle}" text-anchor="middle" class="lk-ink" '
        f'transform="rotate(-90 12 {middle})">{unit}</text>'
    )


def _bar(t: int, below: int, n: int, highest: int, name: str) -> str:
    x, top, width = _x(t), _y(below + n, highest), _x(1) - _x(0)
    height = _y(below, highest) - top
    return (
        f'<rect x="{x:.1f}" y="{top:.1f}" width="{width - 1:.1f}" height="{height:.1f}" '
        f'fill="{worker_colour(name)}" data-worker="{escape(name)}"><title>{escape(name)}: {n}</title></rect>'
    )


class _Name(NamedTuple):
    """The name of a mark, or of several that are too close together for a name each."""

    at: float
    line: int
    text: str
    harm: bool


def _names(marks: Sequence[Mark], begin: int) -> list[_Name]:
    """Place the names of the marks, each if there is room; otherwise what was done in a row has one name."""
    single = [(mark.text, mark, 1) for mark in marks]
    names, left_out = _placed(single, begin)
    if not left_out:
        return names
    rows: list[tuple[str, Mark, int]] = []
    end = 0.0
    for mark in marks:
        fault = mark.text.partition(" ")[0]
        if rows and rows[-1][1].text.partition(" ")[0] == fault and _x(mark.t - begin) - end < IN_A_ROW_PX:
            first, n = rows[-1][1], rows[-1][2] + 1
            rows[-1] = f"{fault} ×{n}", first, n
        else:
            rows.append((mark.text, mark, 1))
        end = _x(mark.t - begin)
    return _placed(rows, begin)[0]


def _placed(rows: Sequence[tuple[str, Mark, int]], begin: int) -> tuple[list[_Name], int]:
    """Place names side by side, then higher; return them, and how many marks are only counted ("+2")."""
    names: list[_Name] = []
    ends = [0.0] * NAME_LINES
    more = left_out = 0
    for text, mark, n in rows:
        at, line = _place(text, _x(mark.t - begin), ends)
        if line is None:  # counted with the last one
            last = names.pop()
            text = last.text.removesuffix(f" +{more}") + f" +{more + n}"
            more, left_out, line = more + n, left_out + n, last.line
            at = min(last.at, _place(text, last.at, ends)[0])
        else:
            more = 0
        names.append(_Name(at, line, text, mark.harm))
        ends[line] = at + len(text) * NAME_PX + 6
    return names, left_out


def _place(text: str, x: float, ends: Sequence[float]) -> tuple[float, int | None]:
    """Return where a name for a mark at ``x`` begins, and the lowest line that has room for it."""
    at = min(x, WIDTH - RIGHT - len(text) * NAME_PX)
    return at, next((line for line, end in enumerate(ends) if end <= at), None)


def _marks(marks: Sequence[Mark], begin: int) -> list[str]:
    """Draw the faults as lines with names."""
    shown = [mark for mark in marks if _x(mark.t - begin) >= LEFT]
    drawn = []
    for mark in shown:
        x = _x(mark.t - begin)
        colour, dash = (FAULT, "") if mark.harm else (PALE, ' stroke-dasharray="4 3"')
        drawn.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}" stroke="{colour}" '
            f'stroke-width="2"{dash}/>'
        )
    for name in _names(shown, begin):
        colour, weight = (FAULT, ' font-weight="bold"') if name.harm else (PALE, "")
        drawn.append(
            f'<text x="{name.at:.1f}" y="{TOP - 8 - 12 * name.line}" fill="{colour}"{weight}>'
            f"{escape(name.text)}</text>"
        )
    return drawn


def _legend(workers: Sequence[str]) -> str:
    if not workers:
        text = escape(_("no results in this time"))
        return (
            f'<text x="{WIDTH / 2}" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" font-size="13" '
            f'class="lk-ink">{text}</text>'
        )
    return ""
