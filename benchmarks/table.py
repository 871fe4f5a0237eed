"""The results in the form in which they are shown: a table for people, one JSON document for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from benchmarks.figures import TIMES, Figure, Section, Target
from benchmarks.setup import Setup, cores
from labkit.support.i18n import _

WIDTHS = (50, 10, 9, 19)
BUSY_LOAD_PER_CORE = 0.5


def number(value: float) -> str:
    """Return ``value`` with three significant digits, or all of its whole ones: 0.0123, 1.50, 41200."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - floor(log10(abs(value))))}f}"


def heading(setup: Setup) -> list[str]:
    """Return the lines above the table: machine, versions, rounds."""
    lines = [
        _("{cores} cores, Python {python}, {system}; {workers} workers where engines are compared").format(
            cores=cores(), python=platform.python_version(), system=platform.platform(), workers=setup.workers
        ),
        _("{rounds} rounds, the engines in turn, after a warm-up; x is a ratio within one round").format(
            rounds=setup.rounds
        ),
        _("interval: where the true median lies, at a confidence of 94 %; with fewer than 5 values at less"),
    ]
    load = load_per_core()
    if load is not None and load > BUSY_LOAD_PER_CORE:
        busy = _("This machine is busy with something else (load {load:.1f} per core): expect a wide spread.")
        lines.append(busy.format(load=load))
    return lines


def load_per_core() -> float | None:
    """Return the load average of the last minute per core; None where the system does not report it."""
    return os.getloadavg()[0] / cores() if hasattr(os, "getloadavg") else None


def columns() -> str:
    """Return the line above all rows."""
    return _row("", _("median"), "", _("interval"), _("target"))


def rows(section: Section) -> list[str]:
    """Return one line per figure, and below them how they were measured."""
    return [_figure(figure) for figure in section.figures] + [f"    ({note})" for note in section.notes]


def _figure(figure: Figure) -> str:
    low, high, _confidence = figure.interval
    verdict = f"{bound(figure.target)}: {_(figure.verdict)}" if figure.target and figure.verdict else ""
    between = f"{number(low)} - {number(high)}"
    return _row("  " + figure.label, number(figure.spread.median), _(figure.unit), between, verdict)


def bound(target: Target) -> str:
    """Return a target as a sign and a number, with its goal if it has one: ">= 3 (10)"."""
    goal = f" ({target.goal:g})" if target.goal is not None else ""
    return f"{'<=' if target.at_most else '>='} {target.limit:g}{goal}"


def _row(label: str, median: str, unit: str, between: str, target: str) -> str:
    wide, middle, narrow, spread = WIDTHS
    return f"{label:<{wide}}{median:>{middle}} {unit:<{narrow}} {between:<{spread}} {target}".rstrip()


def as_json(setup: Setup, sections: Mapping[str, Section]) -> dict[str, Any]:
    """Return everything as one document, in English."""
    return {
        "cores": cores(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_per_core": load_per_core(),
        "workers": setup.workers,
        "rounds": setup.rounds,
        "quick": setup.quick,
        "measurements": {
            name: {**section.facts, "figures": _figures(section.figures)}
            for name, section in sections.items()
        },
    }


def _figures(figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        figure.name: {
            **figure.spread._asdict(),
            "interval_of_median": figure.interval._asdict(),
            "values": list(figure.values),
            "unit": "ratio" if figure.unit == TIMES else figure.unit,
            "target": _target(figure.target),
            "verdict": figure.verdict,
        }
        for figure in figures
    }


def _target(target: Target | None) -> dict[str, float] | None:
    if target is None:
        return None
    goal = {} if target.goal is None else {"goal": target.goal}
    return {"at_most" if target.at_most else "at_least": target.limit, **goal}
