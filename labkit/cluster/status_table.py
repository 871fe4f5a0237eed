"""The table of workers in a terminal: what ``status``, ``status --watch`` and the demo draw.

On a narrow terminal whole columns are left out, the least important first; no cell is cut.

rich is imported when the first table is drawn: a cluster's own processes never load it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from labkit.cluster.status_text import STATES, state_in_words, state_of
from labkit.core.names import without_controls
from labkit.support.i18n import _

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

GAP = 2
"""Spaces between two columns."""


class Column(NamedTuple):
    """One column of a table of workers."""

    title: str
    kind: Literal["text", "number", "wraps", "stretches"] = "text"
    """A number is aligned to the right. A cell that wraps may use several lines. A column that stretches
    takes the width that is left; its cells are shortened to that."""
    importance: int = 0
    """The column with the lowest number above 0 is left out first; 0 is never left out."""
    min_width: int = 0


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | Text]],
    width: int | None = None,
    header_style: str = "bold",
) -> Table:
    """Return the table of these rows, a cell for each column. It fits into ``width`` terminal columns."""
    from rich.table import Table

    # A peer chose some of these texts: a terminal must not obey them.
    rows = [
        [without_controls(cell, lines=False) if isinstance(cell, str) else cell for cell in row]
        for row in rows
    ]
    needed = [
        max(column.min_width, *(_needed(cell, column) for cell in (column.title, *(row[n] for row in rows))))
        for n, column in enumerate(columns)
    ]
    shown = set(range(len(columns)))
    droppable = [n for n in shown if columns[n].importance]
    for n in sorted(droppable, key=lambda n: columns[n].importance):
        if width is None or sum(needed[n] + GAP for n in shown) - GAP <= width:
            break
        shown.remove(n)
    stretches = any(column.kind == "stretches" for column in columns)
    drawn = Table(
        box=None,
        padding=(0, GAP, 0, 0),
        header_style=header_style,
        pad_edge=False,
        width=width if stretches else None,
    )
    for n in sorted(shown):
        column = columns[n]
        drawn.add_column(
            column.title,
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.kind != "wraps",
            overflow="ellipsis",
            ratio=1 if column.kind == "stretches" else None,
            min_width=column.min_width or None,
        )
    for row in rows:
        drawn.add_row(*(row[n] for n in sorted(shown)))
    return drawn


def _needed(cell: str | Text, column: Column) -> int:
    """Return how many terminal columns a cell takes at least."""
    from rich.cells import cell_len

    text = str(cell)
    if column.kind == "stretches":
        return cell_len(column.title)
    return max(map(cell_len, text.split() or [""])) if column.kind == "wraps" else cell_len(text)


def state_cell(worker: Mapping[str, Any]) -> Text:
    """Return the state of one of ``Cluster.status()["workers"]``, in words and in its colour."""
    from rich.text import Text

    text = state_in_words(worker)
    if worker["process"] == "restarting" and worker["last_exit"]:
        text = _("{state} after {end}").format(state=text, end=worker["last_exit"])
    return Text(text, STATES[state_of(worker)].terminal)
