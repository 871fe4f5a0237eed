"""The time axis of a chart: the visible part, and the marks of faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from labkit.charts.style import SMALL, inches, shortened, size_of
from labkit.core.history import History
from labkit.core.history.recovery import HEALING
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, PALE
from labkit.support.text import Spoken

MAX_NAMED = 12
"""More names than this would cover the chart; the other marks are drawn without a name."""
MARK_LINE = 0.17
"""Height of a line of names in inches."""


class View(NamedTuple):
    """The visible part of time, in seconds since the first event, and the part that is counted."""

    since: float
    until: float
    begin: float
    end: float

    @property
    def span(self) -> float:
        return self.until - self.since


def view_of(history: History) -> View:
    """Return the part of time with work or faults; it is shown with a margin of 2 %.

    Idle time before and after is left out, because it would squeeze the rest; the axis shows where it begins.
    """
    instants = [at for span in history.busy() for at in span]
    instants += [at for recovery in history.recoveries() for _name, at in recovery.links]
    instants += [at for at, _fault, _target in history.faults()]
    if not instants:
        return View(0.0, history.duration_s or 1.0, 0.0, history.duration_s)
    begin, end = min(instants), max(instants)
    margin = (end - begin) * 0.02
    return View(begin - margin, end + (margin or 1.0), begin, end)


class Mark(NamedTuple):
    """An instant with a name, to be drawn as a vertical line."""

    at: float
    text: str
    harm: bool


def marks_of(history: History) -> list[Mark]:
    """Return the injected faults, the losses without an injected fault, and the gaps of the history."""
    marks = [
        Mark(at, f"{fault} {target}".strip(), fault not in HEALING) for at, fault, target in history.faults()
    ]
    marks += [
        Mark(chain.began_at, _("{target} lost").format(target=chain.target), True)
        for chain in history.recoveries()
        if not chain.fault
    ]
    for at, n in history.gaps():
        missing = (
            ngettext("{n} event missing", "{n} events missing", n).format(n=n) if n else _("events missing")
        )
        marks.append(Mark(at, missing, False))
    return sorted(marks)


def in_words(history: History) -> list[str]:
    """Return the marks as sentences."""
    return [
        _("At {at:.2f} s: {what}.").format(at=Spoken(mark.at), what=mark.text)
        for mark in marks_of(history)[:MAX_NAMED]
    ]


class _Place(NamedTuple):
    mark: Mark
    text: str
    line: int
    leftwards: bool


def _places(marks: Sequence[Mark], view: View, width: float) -> list[_Place]:
    """Return where the names stand over axes ``width`` inches wide; names that would touch are stacked."""
    ends: list[float] = []  # how far each line is written, in inches from the axes' left
    places = []
    for mark in marks[:MAX_NAMED]:
        text = shortened(mark.text, 2.5)
        length = inches(text, SMALL, bold=mark.harm) + 0.14
        at = (mark.at - view.since) / view.span * width
        leftwards = at + length > width
        begin = at - length if leftwards else at
        line = next((i for i, end in enumerate(ends) if end <= begin), len(ends))
        ends[line : line + 1] = [begin + length]
        places.append(_Place(mark, text, line, leftwards))
    return places


def marks_height(marks: Sequence[Mark], view: View, width: float) -> float:
    """Return how many inches above axes ``width`` inches wide the names of the marks need."""
    return MARK_LINE * max((place.line + 1 for place in _places(marks, view, width)), default=0)


def draw_marks(axes: Axes, marks: Sequence[Mark], view: View) -> None:
    """Draw each mark as a line with its name above the axes; harm is bold and solid, healing dashed."""
    for mark in marks:
        axes.axvline(
            mark.at,
            color=FAULT if mark.harm else PALE,
            linewidth=1.8 if mark.harm else 1.2,
            linestyle="-" if mark.harm else (0, (4, 2)),
            zorder=4,
            label="_harm" if mark.harm else "_healing",
        )
    where = blended_transform_factory(axes.transData, axes.transAxes)
    for mark, text, line, leftwards in _places(marks, view, size_of(axes)[0]):
        axes.annotate(
            text,
            (mark.at, 1.0),
            xycoords=where,
            xytext=(-3 if leftwards else 3, 3 + 72 * MARK_LINE * line),
            textcoords="offset points",
            ha="right" if leftwards else "left",
            va="bottom",
            fontsize=SMALL,
            fontweight="bold" if mark.harm else "normal",
            color=FAULT if mark.harm else PALE,
            annotation_clip=False,
            parse_math=False,
        )


def outages(history: History) -> dict[str, list[tuple[float, float]]]:
    """Return per worker the spans from a fault or loss until it joined again; spans do not overlap.

    A fault without a loss lasts until the command that healed it. Without such a command it has no length.
    ``broker`` stands for all workers.
    """
    healed = [(at, target) for at, fault, target in history.faults() if fault in HEALING]
    states = history.workers()
    found: dict[str, list[tuple[float, float]]] = {}
    for chain in history.recoveries():
        worker, begin, noticed = chain.target, chain.began_at, chain.detected_at
        if noticed is None:
            end = min(
                (at for at, target in healed if target in (worker, "all") and at >= begin), default=begin
            )
        elif worker == "broker":
            end = noticed  # for a broker, the detection is the arrival of its successor
        else:
            ready = (span.start for span in states[worker] if span.state == "ready" and span.start >= noticed)
            end = min(ready, default=history.duration_s)
        if end > begin and (worker in states or worker == "broker"):
            found.setdefault(worker, []).append((begin, end))
    return {worker: merged(spans) for worker, spans in found.items()}


def merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans with overlapping ones merged: overlapping shades would add up to another colour."""
    result: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((begin, end))
    return result
