"""Several calls of one function as one task: a chunk of ``Executor.map(chunksize=...)``.

A chunk travels as a call of ``labkit.jobs:run_each`` with the name of the user's function and a `Chunk`. Its
errors speak of that function and of the input's index, so both sides know what a chunk is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

RUN_EACH = "labkit.jobs:run_each"
"""The name of the job that runs a chunk."""
LEVELS = 2
"""The arguments in a chunk lie this much deeper than those of a single call: in a list of tuples."""
RESULT_LEVELS = 1
"""So do its results: in a list."""


class Chunk(list[tuple[Any, ...]]):
    """The arguments of each call."""


class Position:
    """The index of the input that a chunk is computing; None before it starts, and for a single call."""

    index: int | None = None


def run(
    function: Callable[..., Any],
    calls: Iterable[tuple[Any, ...]],
    first: int = 0,
    position: Position | None = None,
) -> list[Any]:
    """Return the results of ``function`` for each of ``calls``; the first has the index ``first`` in its map.

    The first exception ends the chunk; ``position`` then has the index of its input.
    """
    position = position or Position()
    results = []
    for position.index, args in enumerate(calls, first):
        results.append(function(*args))
    return results
