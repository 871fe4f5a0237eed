"""The numbers of a chart as rows, for text, notebooks and programs."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from labkit.support.text import significant


class Whole(float):
    """A number that is shown without decimals, such as the share of a few dozen tasks."""


class Table(NamedTuple):
    """Column titles in the reader's language and rows of plain values; ``None`` means unknown."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]

    def __str__(self) -> str:
        """Return the table as lines of text, with numbers aligned to the right."""
        cells = [self.columns, *(tuple(map(_text, row)) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        numeric = [self._is_numeric(i) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Show lines of text, instead of a tuple of tuples, in frontends without HTML."""
        printer.text(str(self))

    def _is_numeric(self, column: int) -> bool:
        return all(_is_number(row[column]) for row in self.rows)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        sides = ["" if self._is_numeric(i) else ' style="text-align: left"' for i in range(len(self.columns))]
        head = "".join(
            f"<th{side}>{escape(column)}</th>" for side, column in zip(sides, self.columns, strict=True)
        )
        rows = [
            "".join(f"<td{side}>{escape(_text(v))}</td>" for side, v in zip(sides, row, strict=True))
            for row in self.rows
        ]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Whole):
        return f"{value:.0f}"
    return significant(value) if isinstance(value, float) else str(value)
