"""Check whether a day fits its 45 minutes: add up the time that each section of a lesson takes a class.

A teacher who had not written the course needed 55 to 60 minutes for a day 3 that was planned for 45. So the
clock is computed, and a test checks that each section fits its minutes:

==============  ======================================================================================
reading         the words of prose and code, at ``WORDS_A_MINUTE``
running         what the cells took when the notebook was built, in minutes; kept in its metadata
looking         ``LOOK_MIN`` for each cell that shows a figure, a table or a listing; as much for a bet
talking         ``QUESTION_MIN`` for each question that the guide asks ("If there is time" is free), and
                the silence that a cell for the teacher asks for: ``teacher=true silent=1.5``
==============  ======================================================================================

The three numbers are estimates, chosen so that that old day 3 comes to 57 minutes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, repeat
from typing import NamedTuple

from nbformat import NotebookNode

WORDS_A_MINUTE = 160
LOOK_MIN = 1.0
QUESTION_MIN = 1.25

SECTION = re.compile(r"^## (?P<title>.+?)(?: · (?P<begin>\d+)–(?P<end>\d+) min)?$", re.MULTILINE)
WORD = re.compile(r"[\w.]+")
ASK = re.compile(r"\*\*(?:Pregunta|Ask)\.\*\*(.*?)(?=\n\n\*\*|\Z)", re.DOTALL)
ASIDE = re.compile(r"\([^()]*\)")
LISTING_LINES = 3
"""A text of at least this many lines counts as something to look at."""


class Section(NamedTuple):
    """A ``##`` heading of one language; ``minutes`` is None outside the guided part."""

    title: str
    minutes: tuple[int, int] | None


class Cost(NamedTuple):
    """The time that a section takes a class, in minutes."""

    section: Section
    reading: float = 0.0
    running: float = 0.0
    looking: float = 0.0
    talking: float = 0.0

    @property
    def total(self) -> float:
        return self.reading + self.running + self.looking + self.talking

    @property
    def room(self) -> float:
        """The minutes that the clock gives the section."""
        begin, end = self.section.minutes or (0, 0)
        return float(end - begin)


class Said(NamedTuple):
    """One cell for the teacher: the title of the section that it belongs to, its text, its silence."""

    section: str
    text: str
    silent: float


def sections_in(text: str) -> Iterator[Section]:
    """Yield the sections that begin in a cell of prose."""
    for match in SECTION.finditer(text):
        begin, end = match["begin"], match["end"]
        yield Section(match["title"], (int(begin), int(end)) if begin is not None else None)


def costs(notebook: NotebookNode, said: Iterable[Said]) -> list[Cost]:
    """Return the cost of each section of the guided part; cells above the first section count to it."""
    found: list[Cost] = []
    ran_s = notebook.metadata["labkit"].get("ran_s", [])
    for (section, cells), seconds in zip(by_section(notebook), chain(ran_s, repeat(0.0)), strict=False):
        if section.minutes is None:
            continue
        words = sum(len(WORD.findall(cell.source)) for cell in cells)
        code = [cell for cell in cells if cell.cell_type == "code"]
        looks = sum(_is_bet(cell.source) + _shows(cell) for cell in code)
        mine = [each for each in said if each.section == section.title]
        questions = sum(_questions(each.text) for each in mine)
        found.append(
            Cost(
                section,
                reading=words / WORDS_A_MINUTE,
                running=seconds / 60,
                looking=looks * LOOK_MIN,
                talking=questions * QUESTION_MIN + sum(each.silent for each in mine),
            )
        )
    return found


def by_section(notebook: NotebookNode) -> list[tuple[Section, list[NotebookNode]]]:
    """Return the sections of a notebook with their cells; the first includes the cells above it."""
    found: list[tuple[Section, list[NotebookNode]]] = []
    above: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found += [(section, []) for section in sections_in(cell.source)]
        (found[-1][1] if found else above).append(cell)
    if found:
        found[0][1][:0] = above
    return found


def note_running(notebook: NotebookNode) -> None:
    """Store in the metadata how long each section ran, in seconds; drop the times of its cells."""
    notebook.metadata["labkit"]["ran_s"] = [
        round(sum(_ran_s(cell.metadata.pop("execution", {})) for cell in cells), 1)
        for _section, cells in by_section(notebook)
    ]


def _ran_s(marks: dict[str, str]) -> float:
    """Return how long a cell ran, from the timestamps that nbclient stores."""
    if not {"iopub.status.busy", "iopub.status.idle"} <= set(marks):
        return 0.0  # no code, or not executed here
    busy, idle = (datetime.fromisoformat(marks[f"iopub.status.{what}"]) for what in ("busy", "idle"))
    return (idle - busy).total_seconds()


def _is_bet(code: str) -> bool:
    """Return whether a cell asks for a guess: it assigns to a name that begins with ``guess``."""
    return any(
        isinstance(node, ast.Name) and node.id.startswith("guess")
        for statement in ast.parse(code).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        for node in ast.walk(target)
    )


def _shows(cell: NotebookNode) -> bool:
    """Return whether a cell shows something to look at: a figure, a table, a widget or a listing."""
    for output in cell.outputs:
        if {"image/png", "text/html"} & set(output.get("data", {})):
            return True
        text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
        if len(text.strip().splitlines()) >= LISTING_LINES:
            return True
    return False


def _questions(text: str) -> int:
    return sum(ASIDE.sub("", asked).count("?") for asked in ASK.findall(text))
