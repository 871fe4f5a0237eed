"""The panel's live chart: results per second and worker over the last half minute, as one small SVG.

It is redrawn every half second in a kernel that has other work, so it is text and not a matplotlib figure: a
thousandth of the work. Colours, fault lines and units are those of ``labkit.charts``. The cards show the
numbers of its last seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labkit.core.history import natural
from labkit.panel.feed import CHART_S, Mark
from labkit.panel.view import Moment
from labkit.support.i18n import _
from labkit.support.palette import FAULT, GRID, INK, PALE, worker_colour

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 34, 34
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
    text = _("Throughput of the last {s} s: {n} results.").format(s=CHART_S, n=total)
    marks = [_("At {at:.1f} s: {what}.").format(at=mark.t, what=mark.text) for mark in moment.marks]
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


def _marks(marks: Sequence[Mark], begin: int) -> list[str]:
    """Draw the faults as lines with names. A name that would touch another goes higher or is left out."""
    drawn, ends = [], [0.0, 0.0]
    for mark in marks:
        x = _x(mark.t - begin)
        if x < LEFT:
            continue
        colour, dash = (FAULT, "") if mark.harm else (PALE, ' stroke-dasharray="4 3"')
        drawn.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}" stroke="{colour}" '
            f'stroke-width="2"{dash}/>'
        )
        length = len(mark.text) * NAME_PX
        at = min(x, WIDTH - RIGHT - length)
        line = next((i for i, end in enumerate(ends) if end <= at), None)
        if line is not None:
            ends[line] = at + length + 6
            weight = ' font-weight="bold"' if mark.harm else ""
            drawn.append(
                f'<text x="{at:.1f}" y="{TOP - 8 - 12 * line}" fill="{colour}"{weight}>'
                f"{escape(mark.text)}</text>"
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
