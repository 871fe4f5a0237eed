"""A simulated run as text: one row per process over time, what happened to which, and how it ended.

::

    worker-2   ·██████▓██! · · ? x x x ·█████████████

Everything comes from the run's history, as in a chart. The sentences are English templates; a caller that
wants another language passes its own ``translate``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Event, History

if TYPE_CHECKING:
    from labkit.simulation.run import Run

Translate = Callable[[str], str]

STRUCK: Final = "!"
STATES: Final = {"ready": "·", "suspect": "?", "draining": "v", "lost": "x", "left": " ", "unknown": " "}
AFTER_FAULT: Final = {"kill": "lost", "stop": "left", "pause": "suspect", "partition": "suspect"}
LOADS: Final = "▁▂▃▄▅▆▇█"
SMALLEST_WIDTH: Final = 40
MOST_LINES: Final = 60
"""Lines of what happened. If there are more, those in the middle are left out."""
FEW_LINES: Final = 6
"""The same for an excerpt."""
GAP: Final = "   "
"""Between the signs of the legend."""

LEGEND: Final = N_("! fault   ▁ to █ computing   · idle   ? suspect   v draining   x lost   blank: not there")
_FAULTS: Final = {
    "kill": N_("{target} is killed"),
    "start": N_("{target} is started"),
    "stop": N_("{target} is asked to stop"),
    "pause": N_("{target} is frozen"),
    "resume": N_("{target} runs again"),
    "partition": N_("the link of {target} is cut"),
    "mend": N_("the link of {target} is mended"),
    "break": N_("the connection of {target} breaks"),
    "slow": N_("{target} becomes slow"),
    "slow_link": N_("the link of {target} becomes slow"),
    "duplicate": N_("a second {target} is started"),
    "garbage": N_("{target} gets garbage"),
    "heal": N_("the faults are over; everything must end now"),
}
_EVENTS: Final = {
    h.BROKER_STARTED: N_("a broker starts and knows nothing"),
    h.JOINED: N_("{worker} joins"),
    h.SUSPECT: N_("{worker} is silent and gets no new work"),
    h.ALIVE: N_("{worker} is heard again"),
    h.DRAINING: N_("{worker} drains"),
    h.LOST: N_("{worker} is lost ({cause}); requeued: {requeued}"),
    h.LEFT: N_("{worker} has left; requeued: {requeued}"),
    h.REFUSED: N_("{worker} is refused: {reason}"),
    h.POISONED: N_("task {task} is poison: it crashed {crashes} workers"),
    h.FAILED: N_("task {task} fails as {code}"),
    h.POLICY_ERROR: N_("the policy failed: {error}"),
}


def timeline(run: Run, width: int = 100, translate: Translate = str) -> list[str]:
    """Return a run as lines of text at most ``width`` columns wide (but at least 40)."""
    happened = _happenings(run, translate)
    return _cut([*_picture(run, width, translate), "", *happened, "", *summary(run, translate)], width)


def excerpt(run: Run, width: int = 100, translate: Translate = str) -> list[str]:
    """Return the rows of a timeline and, of what happened, its first and its last lines."""
    happened = _happenings(run, translate, FEW_LINES)
    return _cut([*_picture(run, width, translate), "", *happened], width)


def _cut(lines: list[str], width: int) -> list[str]:
    width = max(SMALLEST_WIDTH, width)
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _picture(run: Run, width: int, translate: Translate) -> list[str]:
    width = max(SMALLEST_WIDTH, width)
    history = History(run.history)
    title = N_("seed {seed}: {workers} workers, {tasks} tasks, faults: {faults}, policy: {policy}")
    head = translate(title).format(
        seed=run.seed, workers=run.workers, tasks=run.tasks, policy=run.policy,
        faults=", ".join(run.faults) or translate(N_("none")),
    )  # fmt: skip
    return [head, "", *_lanes(run, history, width), *_legend(translate(LEGEND), width)]


def _legend(text: str, width: int) -> list[str]:
    """Return the legend in as many lines as it needs; it breaks between its signs."""
    lines: list[str] = []
    for part in text.split(GAP):
        if lines and len(lines[-1]) + len(GAP) + len(part) <= width:
            lines[-1] += GAP + part
        else:
            lines.append(part)
    return lines


# --- one row per process ------------------------------------------------------------------------------------


def _lanes(run: Run, history: History, width: int) -> Iterator[str]:
    names = ["broker", *history.workers()]
    names += sorted({str(target) for _, _, target in history.faults() if str(target).startswith("client-")})
    label = max(map(len, names)) + 2
    columns = width - label
    span_s = max(run.ended_at, 1e-9) / columns
    began = history.began_at
    struck: dict[str, set[int]] = {}
    for at, _, target in history.faults():
        struck.setdefault(target, set()).add(_column(at + began, span_s, columns))
    yield " " * label + _axis(run.ended_at, columns)
    for name in names:
        cells = _states(history, name, began, span_s, columns) or _struck_states(run, name, span_s, columns)
        for column, load in enumerate(_loads(history, name, began, span_s, columns)):
            if load > 0 and cells[column] == STATES["ready"]:
                cells[column] = LOADS[min(len(LOADS) - 1, int(load * len(LOADS)))]
        for column in struck.get(name, ()):
            cells[column] = STRUCK
        yield name.ljust(label) + "".join(cells).rstrip()


def _column(at: float, span_s: float, columns: int) -> int:
    return min(columns - 1, max(0, int(at / span_s)))


def _axis(end_s: float, columns: int) -> str:
    """Return marks of seconds, as many as fit."""
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    step_s = next((step for step in steps if columns >= 6 * (end_s / step + 1)), 1000)
    axis = [" "] * columns
    for second in range(0, int(end_s) + 1, step_s):
        text = f"{second} s"
        start = _column(second, end_s / columns, columns)
        if start + len(text) <= columns:
            axis[start : start + len(text)] = text
    return "".join(axis).rstrip()


def _states(history: History, name: str, began: float, span_s: float, columns: int) -> list[str]:
    if name not in history.workers():
        return []
    cells = [" "] * columns
    for span in history.workers().get(name, ()):
        first, last = (_column(at + began, span_s, columns) for at in (span.start, span.end))
        cells[first : last + 1] = STATES[span.state] * (last + 1 - first)
    return cells


def _struck_states(run: Run, name: str, span_s: float, columns: int) -> list[str]:
    """Return the states of a broker or client, which follow from the faults only."""
    cells = ["·"] * columns
    for event in run.history:
        gone_for_good = event.detail.get("target") == "all" and cells[-1] in (STATES["lost"], STATES["left"])
        if event.kind == h.FAULT and event.detail["target"] in (name, "all") and not gone_for_good:
            state = AFTER_FAULT.get(str(event.detail["fault"]), "ready")
            column = _column(event.at, span_s, columns)
            cells[column:] = STATES[state] * (columns - column)
    return cells


def _loads(history: History, name: str, began: float, span_s: float, columns: int) -> list[float]:
    """Return for each column the share of the worker's slots that computed."""
    loads = [0.0] * columns
    slots = history.slots().get(name, 1)
    for interval in history.intervals().get(name, ()):
        start, end = interval.start + began, interval.end + began
        for column in range(_column(start, span_s, columns), _column(end, span_s, columns) + 1):
            left, right = column * span_s, (column + 1) * span_s
            loads[column] += max(0.0, min(end, right) - max(start, left)) / span_s / slots
    return loads


# --- what happened ------------------------------------------------------------------------------------------


def _happenings(run: Run, translate: Translate, most: int = MOST_LINES) -> list[str]:
    lines = []
    for position, event in enumerate(run.history):
        text = _sentence(run.history, position, event, translate)
        if text:
            lines.append(f"{event.at:8.3f} s  {text}")
    if len(lines) > most + 5:
        half = most // 2
        more = translate(N_("… {lines} more lines …")).format(lines=len(lines) - 2 * half)
        lines[half:-half] = [" " * 12 + more]
    return lines


def _sentence(history: list[Event], position: int, event: Event, translate: Translate) -> str:
    """Return the sentence for an event; empty for most events of single tasks, which are the usual case."""
    detail = event.detail
    if event.kind == h.FAULT:
        template = _FAULTS.get(str(detail["fault"]), N_("{target}: {fault}"))
        return translate(template).format(target=detail["target"], fault=detail["fault"])
    template = _EVENTS.get(event.kind, "")
    if not template or (event.kind == h.FAILED and detail.get("code") == "ERROR"):
        return ""
    requeued = 0
    if event.kind in (h.LOST, h.LEFT):
        following = history[position + 1 :]
        for after in following:
            if after.at != event.at or after.worker != event.worker:
                break
            requeued += after.kind == h.REQUEUED
        if event.kind == h.LEFT and not requeued:
            template = N_("{worker} has left")
    return translate(template).format(
        worker=event.worker, task=event.task[-8:], requeued=requeued, cause=detail.get("cause", ""),
        reason=detail.get("reason", ""), crashes=detail.get("crashes", 0), code=detail.get("code", ""),
        error=detail.get("error", ""),
    )  # fmt: skip


# --- how it ended -------------------------------------------------------------------------------------------


def summary(run: Run, translate: Translate = str) -> list[str]:
    """Return a few lines: outcomes, what the faults cost, how long it took, and whether all promises held."""
    outcomes = Counter(outcome.kind for outcome in run.outcomes.values())
    kinds = Counter(event.kind for event in run.history)
    seen = ", ".join(f"{kind} {number}" for kind, number in sorted(outcomes.items()))
    missing = run.tasks - len(run.outcomes)
    lines = [translate(N_("outcomes: {seen}")).format(seen=seen or translate(N_("none")))]
    if missing and run.ok:
        lines.append(
            translate(N_("without an outcome: {missing} tasks of clients that went away")).format(
                missing=missing
            )
        )
    lines += [
        translate(
            N_("{lost} workers lost, {requeued} attempts requeued, {late} late results dropped")
        ).format(lost=kinds[h.LOST], requeued=kinds[h.REQUEUED], late=kinds[h.DUPLICATE]),
        translate(N_("faults until {healed} s, everything ended at {ended} s; {steps} steps")).format(
            healed=f"{run.healed_at:.1f}", ended=f"{run.ended_at:.1f}", steps=run.steps
        ),
    ]
    if run.ok:
        lines.append(translate(N_("every promise was kept")))
    for violation in run.violations:
        broken = translate(N_("BROKEN at {at} s: {invariant}: {why}"))
        lines.append(
            broken.format(at=f"{violation.at:.3f}", invariant=violation.invariant, why=violation.why)
        )
    return lines
