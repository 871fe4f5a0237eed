"""Output of a cell: a chart with its numbers under it, a function's source, how far off a guess was."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from labkit import charts
from labkit.charts import Chart, Guessed
from labkit.support.i18n import _
from labkit.support.text import seconds

NEAR = 1.1
"""A guess within ten per cent counts as good."""


def show(draw: Callable[..., Chart], *args: Any, **kwargs: Any) -> None:
    """Show ``draw(*args, **kwargs)`` and the table of the same numbers under it.

    ``draw`` is a function of `labkit.charts`; its table comes from the function ``..._table`` beside it.
    """
    from IPython.display import display

    display(draw(*args, **kwargs))
    display(getattr(charts, f"{draw.__name__}_table")(*args, **kwargs))


def source(function: Callable[..., Any]) -> None:
    """Print the source of ``function``."""
    print(textwrap.dedent(inspect.getsource(function)))


def gap(row: Guessed) -> None:
    """Print one sentence on the gap between a guess and the measurement."""
    if row.guess_s is None:
        print(_("{name}: you did not guess.").format(name=row.name))
        return
    measured = row.timing.median
    times = max(row.guess_s, measured) / max(min(row.guess_s, measured), 1e-9)
    if row.guess_s == 0:
        text = _("{name}: you guessed {guess} and it took {time}: no work takes no time.")
    elif times < NEAR:
        text = _("{name}: you guessed {guess} and it took {time}: well guessed.")
    elif row.guess_s > measured:
        text = _("{name}: you guessed {guess} and it took {time}: {times:.1f} times as fast as you thought.")
    else:
        text = _("{name}: you guessed {guess} and it took {time}: {times:.1f} times as slow as you thought.")
    print(text.format(name=row.name, guess=seconds(row.guess_s), time=seconds(measured), times=times))
