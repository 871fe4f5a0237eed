"""Output of a cell: a chart with its numbers under it, a function's source, how far off a guess was.

A lesson's bet cell begins with `labkit.charts.starting_bet`, so that each cell runs. Until the learner writes
a number of their own, nothing praises that bet or measures how far off it was.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from labkit import charts
from labkit.charts import Chart, Guessed
from labkit.support.i18n import _
from labkit.support.text import Spoken, seconds

NEAR = 1.1
"""A guess within ten per cent counts as good."""


def show(draw: Callable[..., Chart], *args: Any, **kwargs: Any) -> None:
    """Show ``draw(*args, **kwargs)`` and the table of the same numbers under it.

    ``draw`` is a function of `labkit.charts`; its table comes from the function ``..._table`` beside it.
    """
    from IPython.display import display

    display(draw(*args, **kwargs))
    display(getattr(charts, f"{draw.__name__}_table")(*args, **kwargs))
    if any(map(_is_unmade, (*args, *kwargs.values()))):
        print(
            _(
                "A bet here is still the lesson's own. Write your number in place of starting_bet(…), and "
                "run from there."
            )
        )


def _is_unmade(value: Any) -> bool:
    """Return whether a chart's argument holds a bet that the learner has not made."""
    if isinstance(value, Guessed):
        return charts.is_starting([value.guess_s])
    if isinstance(value, Mapping):
        numbers = [each for each in value.values() if each is None or isinstance(each, float | int)]
        return charts.is_starting(numbers) or any(
            _is_unmade(each) for each in value.values() if isinstance(each, Mapping)
        )
    return isinstance(value, list | tuple) and any(_is_unmade(each) for each in value)


def source(function: Callable[..., Any]) -> None:
    """Print the source of ``function``."""
    print(textwrap.dedent(inspect.getsource(function)))


def gap(row: Guessed) -> None:
    """Print one sentence on the gap between a guess and the measurement."""
    if row.guess_s is None:
        print(_("{name}: you did not guess.").format(name=row.name))
        return
    measured = row.timing.median
    if charts.is_starting([row.guess_s]):
        text = _(
            "{name}: it took {time}. You have not bet: {guess} is where the lesson begins. Write your number "
            "in place of starting_bet(…), and run from there."
        )
        guess = seconds(row.guess_s)
        print(text.format(name=row.name, time=seconds(measured), guess=guess))
        return
    times = max(row.guess_s, measured) / max(min(row.guess_s, measured), 1e-9)
    if row.guess_s == 0:
        text = _("{name}: you guessed {guess} and it took {time}: no work takes no time.")
    elif times < NEAR:
        text = _("{name}: you guessed {guess} and it took {time}: well guessed.")
    elif row.guess_s > measured:
        text = _("{name}: you guessed {guess} and it took {time}: {times:.1f} times as fast as you thought.")
    else:
        text = _("{name}: you guessed {guess} and it took {time}: {times:.1f} times as slow as you thought.")
    print(text.format(name=row.name, guess=seconds(row.guess_s), time=seconds(measured), times=Spoken(times)))
