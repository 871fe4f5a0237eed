"""Compares the ways in which a worker can be absent: what the broker saw, and what it cost.

One lane per history shows the worker's state as the broker saw it, in seconds after the command (kill, pause,
slow, or stop, which is not a fault). Signs mark when its tasks were requeued, when the first of them had a
result from another attempt, and when the worker was back. An event that did not happen has no sign, and the
text of the lane mentions it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from labkit.charts import style
from labkit.charts.style import MARGIN, NORMAL, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import History
from labkit.core.history.recovery import HEALING
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, INK, PALE, mixed, worker_colour
from labkit.support.text import seconds

LANE = 1.08
"""Height of a lane in inches."""
BAND = 0.32
"""Height of the band as a part of its lane."""
SIGN = 0.16
"""Inches between the middles of two signs that do not cover each other."""
BEFORE_S = 0.25
LONGEST_S = 8.0
"""Later events are in the table only."""

NAMES = {
    "crash": N_("crash"),
    "freeze": N_("freezing"),
    "slow": N_("slowness"),
    "stop": N_("polite stop"),
}
"""Known names with their text for people; any other name is shown as it is."""


class Absence(NamedTuple):
    """The first fault of a history; instants are seconds after it, None if the event did not happen."""

    fault: str
    target: str
    states: tuple[tuple[str, float, float], ...]
    """(state, from, to), as the broker saw the target."""
    suspect_s: float | None
    lost_s: float | None
    left_s: float | None
    requeued_s: float | None
    requeued: int
    """How many of its tasks were requeued."""
    retried_s: float | None
    """When the first of them had a result from another attempt, which may run on the worker that is back."""
    back_s: float | None
    """When it joined again."""
    healed_s: float | None
    """When the command was undone."""
    late: int
    """Second results that arrived and were dropped."""
    open_tasks: int
    """Tasks without an outcome at the end; labkit promises 0."""
    end_s: float
    unfinished: bool = False
    """It left before it had finished what it held."""


def absence_of(history: History) -> Absence | None:
    """Return the first fault of a history and its effects, or None if there is no fault."""
    harm = next((f for f in history.faults() if f[1] not in HEALING), None)
    if harm is None:
        return None
    at, fault, target = harm
    began = history.began_at

    def first(kind: str) -> float | None:
        found = (e.at - began - at for e in history.events if e.kind == kind and e.worker == target)
        return min((t for t in found if t >= 0), default=None)

    requeued = [
        (e.at - began - at, e.task, e.attempt)
        for e in history.events
        if e.kind == h.REQUEUED and e.worker == target and e.at - began >= at
    ]
    former = {task: attempt for _t, task, attempt in requeued}
    done = [
        e.at - began - at
        for e in history.events
        if e.kind == h.DONE and e.task in former and e.attempt > former[e.task]
    ]
    healed = [t - at for t, what, whom in history.faults() if what in HEALING and whom == target and t >= at]
    spans = history.workers().get(target, [])
    return Absence(
        fault,
        target,
        tuple((span.state, span.start - at, span.end - at) for span in spans if span.end > span.start),
        first(h.SUSPECT),
        first(h.LOST),
        first(h.LEFT),
        min((t for t, _task, _n in requeued), default=None),
        len(requeued),
        min(done, default=None),
        first(h.JOINED),
        min(healed, default=None),
        history.counts().get(h.DUPLICATE, 0),
        sum(not row.outcome for row in history.ledger()),
        history.duration_s - at,
        any(
            e.kind == h.REQUEUED and e.detail.get("cause") == "left"
            for e in history.events
            if e.worker == target and e.at - began >= at
        ),
    )


def absences(histories: Mapping[str, History]) -> Chart:
    """Return the chart of one lane per history; ``histories`` by name (one of `NAMES`, or any)."""
    lanes = [(_name(key), absence_of(history)) for key, history in histories.items()]
    left = min(style.widest([name for name, _a in lanes], NORMAL, bold=True), style.LONGEST_NAME) + 0.2
    left = max(left, 0.9)
    height = LANE * max(len(lanes), 1)
    labels = [label for _patch, label in _legend(lanes)]
    width = WIDTH - left - MARGIN
    below = style.AXIS_SPACE + style.LEGEND_LINE * style.legend_shape(labels, width)[1] + MARGIN
    chart = style.new_chart(style.TITLE_SPACE + height + below)
    axes = style.place(chart, left, style.TITLE_SPACE, width, height)
    style.dress(axes, _("Ways of being absent, as the broker sees them"), _("seconds after the command"))
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    chart.labkit_alt = " ".join(
        [_("Ways of being absent, as the broker sees them."), *(f"{n}: {_sentence(a)}." for n, a in lanes)]
    )
    if not any(absence for _name, absence in lanes):
        style.write_empty(axes, _("no fault was recorded"))
        axes.set_xticks([])
        return chart
    axes.set_xlim(-BEFORE_S, _until([a for _n, a in lanes if a is not None]))
    for row, (_lane, absence) in enumerate(lanes):
        if absence is not None:
            _draw(axes, row, absence)
        _write(axes, row, _sentence(absence))
    axes.axvline(0, color=FAULT, linewidth=2.0, label="_fault", zorder=4)
    axes.set_yticks(range(len(lanes)), [style.shortened(name) for name, _a in lanes], parse_math=False)
    axes.tick_params(axis="y", labelsize=NORMAL)
    style.legend_below(axes, [patch for patch, _label in _legend(lanes)], labels)
    return chart


def absences_table(histories: Mapping[str, History]) -> Table:
    """Return the chart's numbers, a row per history; seconds after the command, None if it did not happen."""
    columns = (
        _("what"),
        _("command"),
        _("suspect (s)"),
        _("lost (s)"),
        _("left (s)"),
        _("tasks requeued"),
        _("requeued (s)"),
        _("first retry done (s)"),
        _("there again (s)"),
        _("late results"),
        _("tasks without an outcome"),
    )
    rows: list[tuple[object, ...]] = []
    for key, history in histories.items():
        a = absence_of(history)
        if a is None:
            rows.append((_name(key), *(None,) * (len(columns) - 1)))
        else:
            rows.append(
                (
                    _name(key),
                    f"{a.fault} {a.target}",
                    a.suspect_s,
                    a.lost_s,
                    a.left_s,
                    a.requeued,
                    a.requeued_s,
                    a.retried_s,
                    a.back_s,
                    a.late,
                    a.open_tasks,
                )
            )
    return Table(columns, rows)


def _name(key: str) -> str:
    return _(NAMES[key]) if key in NAMES else key


def _until(lanes: list[Absence]) -> float:
    """Return the end of the time axis: when the last of the workers has recovered."""
    ends = [
        max(t for t in (0.3, a.lost_s, a.left_s, a.retried_s, a.back_s, a.healed_s) if t is not None)
        for a in lanes
    ]
    return min(max(ends) * 1.08 + 0.1, LONGEST_S)


def _look(state: str, colour: str) -> dict[str, Any]:
    pale = mixed(colour, 1.0, 0.7)
    looks: dict[str, dict[str, Any]] = {
        "ready": {"facecolor": colour, "edgecolor": "white"},
        "suspect": {"facecolor": pale, "edgecolor": INK, "hatch": "///"},
        "draining": {"facecolor": pale, "edgecolor": INK, "hatch": "..."},
        "lost": {"facecolor": "white", "edgecolor": FAULT, "hatch": "xxx"},
        "left": {"facecolor": "white", "edgecolor": PALE},
    }
    return looks.get(state, {"facecolor": "white", "edgecolor": PALE, "hatch": "--"})


SIGNS = {
    "healed": ("|", N_("the command is undone")),
    "requeued": ("^", N_("its tasks are in the queue again")),
    "retried": ("*", N_("the first of them has a result from another attempt")),
    "back": ("o", N_("it has joined again")),
}


def _draw(axes: Axes, row: int, a: Absence) -> None:
    until = axes.get_xlim()[1]
    colour = worker_colour(a.target)
    for state, begin, end in a.states:
        begin, end = max(begin, -BEFORE_S), min(end, until)
        if end > begin:
            axes.barh(
                row + 0.2,
                end - begin,
                BAND,
                left=begin,
                linewidth=1.0,
                label=f"_{state}",
                **_look(state, colour),
            )
    if a.fault == "slow":  # invisible to the broker
        end = min(a.healed_s if a.healed_s is not None else a.end_s, until)
        axes.barh(
            row + 0.2,
            end,
            BAND,
            left=0,
            facecolor="none",
            edgecolor=FAULT,
            hatch="\\\\",
            linewidth=1.0,
            label="_slowed",
        )
    instants = {"healed": a.healed_s, "requeued": a.requeued_s, "retried": a.retried_s, "back": a.back_s}
    here = {name: at for name, at in instants.items() if at is not None and at <= until}
    for name, (x, y) in _apart(here, axes).items():
        axes.plot([x], [row + 0.2 + y], label=f"_{name}", zorder=6, **_marker(name))


def _apart(instants: Mapping[str, float], axes: Axes) -> dict[str, tuple[float, float]]:
    """Return where in a lane each sign stands: higher or lower where another one would cover it."""
    begin, until = axes.get_xlim()
    inches_per_s = style.size_of(axes)[0] / (until - begin)
    places: dict[str, tuple[float, float]] = {}
    for name, at in sorted(instants.items(), key=lambda item: item[1]):
        others = [place for other, place in places.items() if other != "healed"]
        free = (
            y
            for y in (0.0, 0.2, -0.2)
            if all(hypot((at - x) * inches_per_s, (y - its) * LANE) >= SIGN for x, its in others)
        )
        places[name] = at, 0.0 if name == "healed" else next(free, 0.0)
    return places


def _marker(name: str) -> dict[str, Any]:
    wide = {"marker": "|", "markersize": 26, "markeredgewidth": 2.2, "markeredgecolor": PALE}
    filled = {
        "marker": SIGNS[name][0],
        "markersize": 13 if name == "retried" else 9,
        "markerfacecolor": "white",
        "markeredgecolor": INK,
        "markeredgewidth": 1.4,
    }
    return {"linestyle": "none", **(wide if name == "healed" else filled)}


def _write(axes: Axes, row: int, text: str) -> None:
    """Write a lane's sentence over its band, on two lines if it is too long for one."""
    room = style.size_of(axes)[0] - 0.35
    lines = wrapped(text, room)
    widest = max(style.inches(line) for line in lines)
    axes.annotate(
        "\n".join(lines),
        (-BEFORE_S, row - 0.25),
        xytext=(2, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL * min(1.0, room / max(widest, 0.1)),
        color=INK,
        annotation_clip=False,
        parse_math=False,
        zorder=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )


def wrapped(text: str, room: float) -> list[str]:
    """Return a sentence of parts as one line, or as the two that are closest in length."""
    parts = text.split("; ")
    if style.inches(text) <= room or len(parts) == 1:
        return [text]
    halves = [("; ".join(parts[:n]) + ";", "; ".join(parts[n:])) for n in range(1, len(parts))]
    return list(min(halves, key=lambda pair: max(map(style.inches, pair))))


def _sentence(a: Absence | None) -> str:
    if a is None:
        return _("no fault was recorded")
    parts = []
    if a.suspect_s is not None:
        parts.append(_("suspect after {t}").format(t=seconds(a.suspect_s)))
    if a.lost_s is not None:
        parts.append(_("lost after {t}").format(t=seconds(a.lost_s)))
    elif a.left_s is not None:
        text = _("has left after {t}, unfinished") if a.unfinished else _("has left after {t}, empty-handed")
        parts.append(text.format(t=seconds(a.left_s)))
    else:
        parts.append(_("never lost: it beats"))
    if a.requeued_s is not None:
        text = ngettext("{n} task requeued after {t}", "{n} tasks requeued after {t}", a.requeued)
        parts.append(text.format(n=a.requeued, t=seconds(a.requeued_s)))
    if a.retried_s is not None:
        parts.append(_("retry done after {t}").format(t=seconds(a.retried_s)))
    if a.back_s is not None:
        parts.append(_("there again after {t}").format(t=seconds(a.back_s)))
    if a.open_tasks:
        text = ngettext("{n} task without an outcome", "{n} tasks without an outcome", a.open_tasks)
        parts.append(text.format(n=a.open_tasks))
    return "; ".join(parts)


def _legend(lanes: list[tuple[str, Absence | None]]) -> list[tuple[Any, str]]:
    grey = "#A6A6A6"
    words = {
        "ready": _("ready"),
        "suspect": _("suspect"),
        "lost": _("lost"),
        "draining": _("draining"),
        "left": _("left"),
    }
    present = {state for _n, a in lanes if a is not None for state, _b, end in a.states if end > -BEFORE_S}
    legend: list[tuple[Any, str]] = [
        (Patch(linewidth=1.0, **_look(state, grey)), word)
        for state, word in words.items()
        if state in present
    ]
    if any(a is not None and a.fault == "slow" for _n, a in lanes):
        legend.append((Patch(facecolor="none", edgecolor=FAULT, hatch="\\\\"), _("slowed down")))
    happened = {
        "healed": any(a is not None and a.healed_s is not None for _n, a in lanes),
        "requeued": any(a is not None and a.requeued_s is not None for _n, a in lanes),
        "retried": any(a is not None and a.retried_s is not None for _n, a in lanes),
        "back": any(a is not None and a.back_s is not None for _n, a in lanes),
    }
    for name, (_sign, words_of) in SIGNS.items():
        if happened[name]:
            marker = _marker(name) | ({"markersize": 12} if name == "healed" else {})
            legend.append((Line2D([], [], **marker), _(words_of)))
    return legend
