"""A guess beside what was measured: one pair of bars for each thing that was timed, or counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple, Self

from matplotlib.ticker import MaxNLocator

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.errors import N_, InvalidInput
from labkit.support.i18n import _
from labkit.support.palette import BLUE, INK, PALE
from labkit.support.text import seconds
from labkit.support.timing import Timing

ROW = 0.62
BAR = 0.32
"""Of a row; a pair has two of them."""


NAMES = {
    "sequential": N_("one after the other"),
    "threads": N_("in threads"),
    "processes": N_("in processes"),
    "kill": N_("after a kill"),
    "crash": N_("crash"),
    "freeze": N_("freezing"),
    "unlocked": N_("without a lock"),
    "locked": N_("with a lock"),
    "bytes": N_("bytes exchanged"),
    "healed": N_("Redis whole again"),
    "lines": N_("lines for one result"),
}
"""Engines and faults, as a chart calls them; any other name stands as it is."""
UNITS = {
    "seconds": N_("seconds"),
    "additions": N_("additions"),
    "bytes": N_("bytes"),
    "lines": N_("lines"),
}
"""What can be guessed, and how the axis calls it."""


class NotAGuess(InvalidInput):
    """A guess is not a number, or is negative."""


class StartingBet(float):
    """A guess that the lesson made; charts call it so until the learner writes a number instead."""

    def __repr__(self) -> str:
        return f"starting_bet({float(self):g})"


def starting_bet(guess: float) -> StartingBet:
    """Return the number that stands in a lesson before its reader makes a bet."""
    return StartingBet(checked_guess(guess))


def is_starting(guesses: Iterable[float | None]) -> bool:
    """Return whether all of these guesses (None: no guess) are the lesson's own."""
    made = [guess for guess in guesses if guess is not None]
    return bool(made) and all(isinstance(guess, StartingBet) for guess in made)


def checked_guess(guess: Any) -> float:
    """Return ``guess``. Raises NotAGuess, with how to write one, if it cannot be drawn."""
    if isinstance(guess, StartingBet):
        return guess
    if isinstance(guess, Real) and 0 <= float(guess) < math.inf:
        return float(guess)
    raise NotAGuess(
        N_("a guess is a number, zero or more, with a point and no comma, such as 0.5; this one is {guess}"),
        guess=repr(guess),
    )


class _Guessed(NamedTuple):
    key: str
    guess_s: float | None
    timing: Timing


class Guessed(_Guessed):
    """A name (one of `NAMES`, or any), a guess in seconds (None: no guess), and the measured times.

    If the unit given to `guesses` is a count, both are counts. Raises NotAGuess.
    """

    __slots__ = ()

    def __new__(cls, key: str, guess_s: float | None, timing: Timing) -> Self:
        return super().__new__(cls, key, None if guess_s is None else checked_guess(guess_s), timing)

    @property
    def name(self) -> str:
        """What the reader calls it."""
        return _(NAMES[self.key]) if self.key in NAMES else self.key


def guesses(rows: Sequence[Guessed], unit: str = "seconds") -> Chart:
    """Return the chart of what was guessed, hollow, over what was measured, with its spread.

    ``unit`` is one of `UNITS`.
    """
    left = min(style.widest([row.name for row in rows]), style.LONGEST_NAME) + 0.12 + MARGIN
    height = ROW * max(len(rows), 1)
    chart = style.new_chart(style.TITLE_SPACE + height + style.AXIS_SPACE + MARGIN)
    axes = style.place(chart, left, style.TITLE_SPACE, WIDTH - left - MARGIN, height)
    style.dress(axes, _("Guess and measurement"), _(UNITS[unit]))
    chart.labkit_alt = " ".join([_("Guess and measurement."), *(_sentence(row, unit) for row in rows)])
    if not rows:
        style.write_empty(axes, _("nothing was measured"))
        axes.set_xticks([])
        return chart
    words = [(_guess_words(row, unit), _measured_words(row, unit)) for row in rows]
    longest = style.widest([word for pair in words for word in pair])
    most = max(max(row.timing.most, row.guess_s or 0.0) for row in rows) or 1.0
    width = WIDTH - left - MARGIN
    axes.set_xlim(0, most * width / max(width - longest - 0.25, width / 3))
    if unit != "seconds":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for number, row in enumerate(rows):
        above, below = number - BAR / 2 - 0.03, number + BAR / 2 + 0.03
        if row.guess_s is not None:
            axes.barh(above, row.guess_s, BAR, facecolor="white", edgecolor=PALE, hatch="///", label="_guess")
        axes.barh(below, row.timing.median, BAR, color=BLUE, label="_measured")
        axes.plot([row.timing.least, row.timing.most], [below] * 2, color=INK, linewidth=1.6, label="_spread")
        for y, end, text in (
            (above, row.guess_s or 0.0, words[number][0]),
            (below, row.timing.most, words[number][1]),
        ):
            axes.annotate(
                text,
                (end, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                color=PALE if y == above else INK,
            )
    axes.set_yticks(range(len(rows)), [style.shortened(row.name) for row in rows], parse_math=False)
    axes.tick_params(axis="y", length=0)
    return chart


def guesses_table(rows: Sequence[Guessed], unit: str = "seconds") -> Table:
    """Return the chart's numbers: name, guess, median, least and most in the unit, and how many runs."""
    columns = (_("what"), _("guess (s)"), _("measured (s)"), _("least (s)"), _("most (s)"), _("runs"))
    if unit != "seconds":
        columns = (_("what"), _("guess"), _("measured"), _("least"), _("most"), _("runs"))
    return Table(
        columns,
        [
            (row.name, *(_number(n, unit) for n in (row.guess_s, t.median, t.least, t.most)), len(t.times))
            for row in rows
            for t in [row.timing]
        ],
    )


def _number(value: float | None, unit: str) -> float | None:
    """Return a number for the table: counts are whole (in Spanish, 4.000 means four thousand)."""
    return value if value is None or unit == "seconds" else round(value)


def _told(value: float, unit: str) -> str:
    return seconds(value) if unit == "seconds" else f"{value:.0f}"


def _guess_words(row: Guessed, unit: str) -> str:
    if row.guess_s is None:
        return _("no guess")
    text = _("starting bet: {time}") if is_starting([row.guess_s]) else _("your guess: {time}")
    return text.format(time=_told(row.guess_s, unit))


def _measured_words(row: Guessed, unit: str) -> str:
    median, least, most = (_told(n, unit) for n in (row.timing.median, row.timing.least, row.timing.most))
    if len(row.timing.times) == 1:
        return _("measured: {time}").format(time=median)
    return _("measured: {time} ({least} to {most})").format(time=median, least=least, most=most)


def _sentence(row: Guessed, unit: str) -> str:
    return f"{row.name}: {_guess_words(row, unit)}; {_measured_words(row, unit)}."
