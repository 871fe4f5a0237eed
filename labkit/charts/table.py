"""The numbers beside a picture, as rows that text, a notebook and a program can all take."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Column titles in the reader's language and rows of plain values; ``None`` is "not known"."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]

    def __str__(self) -> str:
        """Return it as lines of text, numbers to the right."""
        cells = [self.columns, *(tuple(map(_text, row)) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        numeric = [all(_is_number(row[i]) for row in self.rows) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Give a notebook lines of text, where it cannot show a table, instead of a tuple of tuples."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
