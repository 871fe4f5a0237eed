"""The course's sources: ``notebooks/source/*.py``, read as cells and made into a notebook of each language.

The format of a source is jupytext's ``percent``. What it adds to that:

==================================================  =========================================================
``# %% [markdown] lang="es"``                       prose; each cell in Spanish is followed by its English
``# %% [markdown] lang="es" teacher=true``          goes to the teacher's guide, below its section
``# %%``                                            code, once for both languages
``# %% tags=["unstored"]``                          code whose output is the reader's own (paths, a machine's
                                                    name): not executed here, but by the tests and the reader
``# %% tags=["nbval-check-output"]``                code whose output is the same in every run, although
                                                    ``may_vary`` expects that it is not
``# %% exercises=1``                                every exercise of day 1 from the catalogue: its text, and
                                                    a cell with its stub (``notebooks/practice.py``)
``# %% tags=["answer"]``                            code that answers a question above: folded in the notebook
``# %% holds="broken[0] < 2000"``                   code whose figures the prose beside it relies on: if the
                                                    expression is false after it, the run is not stored
``{{lang}}``                                        es or en
``{{minutes_of_day_1}}``                            how long the exercises of day 1 take
``{{how_to_practice}}``                             how a notebook with exercises is used
``{{glossary}}``                                    the glossary of ARCHITECTURE.md, in the cell's language
``## Waiting together · 5–15 min``                  a section with its minutes; together they are the clock,
                                                    which ``notebooks/clock.py`` holds to what a class needs
==================================================  =========================================================

``tests/unit/course/test_notebook_sources.py`` checks the rules: code cells hold no comments and no sentences
(texts for people come from labkit's catalogue); both languages have the same headings, links and code.

``pytest --nbval`` runs a committed notebook and compares what its cells show with what is stored. A cell that
shows something else in each run (a time, a port, a chart) is tagged ``nbval-ignore-output`` here.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import clock, practice
from notebooks.clock import Section

HERE = Path(__file__).parent
SOURCES = HERE / "source"
ARCHITECTURE = HERE.parent / "ARCHITECTURE.md"
LANGUAGES = ("es", "en")

UNSTORED = "unstored"
IGNORED, COMPARED = "nbval-ignore-output", "nbval-check-output"
STEADY = {"checkpoint", "end", "keep", "source"}
"""Functions that print the same in every run."""
BEGIN = "begin"
"""Begins a lesson, and prints what machine this is."""
MINUTES = re.compile(r"\{\{minutes_of_day_(\d)\}\}")
ANSWER = "answer"

GLOSSARY = {
    "es": ("término", "en inglés", "qué es"),
    "en": ("term", "in Spanish", "what it is"),
}
"""The heads of the glossary's columns."""


class SourceError(Exception):
    """A source breaks a rule of the format; the text names the file and the cell."""


class Cell(NamedTuple):
    """One cell of a source. ``lang`` is None for code that both languages share."""

    kind: str
    text: str
    lang: str | None
    teacher: bool
    tags: tuple[str, ...]
    silent: float = 0.0
    """Minutes of silence that a cell for the teacher asks for."""
    exercise: str = ""
    """The id of the exercise, for a cell with a stub."""
    solution: str = ""
    """What stands in such a cell once the exercise is solved."""
    holds: str = ""
    """An expression that is true of the figures that the prose beside this code describes."""


def names() -> list[str]:
    """Return the names of all notebooks, in the order of their files."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def with_exercises() -> list[str]:
    """Return the names of the notebooks of practice."""
    return [name for name in names() if any(cell.exercise for cell in read(name))]


def read(name: str) -> list[Cell]:
    """Return the cells of the source called ``name``; SourceError where prose lacks its other language."""
    path = SOURCES / f"{name}.py"
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    cells = []
    for number, cell in enumerate(notebook.cells, 1):
        lang = cell.metadata.get("lang")
        if (cell.cell_type == "markdown") != (lang in LANGUAGES):
            raise SourceError(f'{path.name}, cell {number}: prose has lang="es" or lang="en", code has none')
        tags = tuple(cell.metadata.get("tags", ()))
        if day := cell.metadata.get("exercises"):
            cells += exercises_of(int(day), cell.metadata.get("varies", ()))
            continue
        teacher, silent = bool(cell.metadata.get("teacher", False)), float(cell.metadata.get("silent", 0.0))
        holds = str(cell.metadata.get("holds", ""))
        cells.append(Cell(cell.cell_type, cell.source, lang, teacher, tags, silent, holds=holds))
    for spanish, english in pairs(cells):
        alike = (spanish.teacher, spanish.silent) == (english.teacher, english.silent)
        if (spanish.lang, english.lang) != ("es", "en") or not alike:
            raise SourceError(f"{path.name}: after {spanish.text[:60]!r} the same in English is expected")
    return cells


def exercises_of(day: int, varies: Sequence[str]) -> list[Cell]:
    """Return the exercises of a day as cells: text and stub of each, in both languages.

    ``varies``: ids of exercises whose stub does not get the same verdict, word for word, in every run.
    """
    cells = []
    for part in practice.parts(day):
        cells += [Cell("markdown", part.texts[lang], lang, False, ()) for lang in LANGUAGES]
        tags = (IGNORED,) if part.on_real_processes or part.exercise in varies else (COMPARED,)
        cells += [
            Cell("code", part.stubs[lang], lang, False, tags, 0.0, part.exercise, part.solutions[lang])
            for lang in LANGUAGES
        ]
    return cells


def pairs(cells: list[Cell]) -> list[tuple[Cell, Cell]]:
    """Return the prose of both languages side by side."""
    prose = [cell for cell in cells if cell.kind == "markdown"]
    if len(prose) % 2:
        raise SourceError(f"a cell of prose has no other language; the last is {prose[-1].text[:60]!r}")
    return list(zip(prose[::2], prose[1::2], strict=True))


def sections(cells: list[Cell], lang: str) -> list[Section]:
    """Return the sections of the notebook in this language."""
    prose = [cell.text for cell in cells if (cell.kind, cell.lang) == ("markdown", lang) and not cell.teacher]
    return [section for text in prose for section in clock.sections_in(text)]


# --- one notebook -------------------------------------------------------------------------------------------


def notebook_path(name: str, lang: str) -> Path:
    return HERE / lang / f"{name}.ipynb"


def notebook_of(name: str, lang: str, *, solved: bool = False) -> NotebookNode:
    """Return the notebook called ``name`` in this language, not yet executed.

    ``solved``: with the solution of each exercise in place of its stub.
    """
    cells: list[NotebookNode] = []
    taken: dict[str, int] = {}
    for cell in read(name):
        if cell.teacher or cell.lang not in (None, lang):
            continue
        text = filled(cell.solution if solved and cell.exercise else cell.text, lang)
        make: Callable[..., NotebookNode] = new_code_cell if cell.kind == "code" else new_markdown_cell
        node = make(text, id=_identity(text, taken))
        tags = list(cell.tags)
        if cell.kind == "code" and not {UNSTORED, COMPARED, IGNORED} & set(tags) and may_vary(text):
            tags.append(IGNORED)
        if tags:
            node.metadata["tags"] = tags
        if ANSWER in cell.tags:
            node.metadata["jupyter"] = {"source_hidden": True}
        cells.append(node)
    notebook: NotebookNode = new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "labkit": {"lang": lang, "source": f"notebooks/source/{name}.py"},
        },
    )
    return notebook


def may_vary(code: str) -> bool:
    """Return whether a cell may show something else in another run.

    It cannot if it only assigns, imports and calls ``STEADY`` functions. Everything else counts as varying: a
    cell that is compared without need fails on some machine, some day.
    """
    python = "\n".join(
        line for line in code.splitlines() if not line.startswith("%")
    )  # %practice repeats itself
    nodes = list(ast.walk(ast.parse(python)))
    shown = [node.value for node in nodes if isinstance(node, ast.Expr)]
    return any(_called(value) not in STEADY for value in shown) or BEGIN in map(_called, nodes)


def _called(node: ast.AST) -> str:
    """Return the name of the function or method that ``node`` calls; empty if it is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def claims(name: str, lang: str) -> dict[str, str]:
    """Return by a code cell's id what the prose beside it claims of the figures."""
    taken: dict[str, int] = {}
    found = {}
    for cell in read(name):
        if not cell.teacher and cell.lang in (None, lang):
            identity = _identity(filled(cell.text, lang), taken)
            if cell.holds:
                found[identity] = cell.holds
    return found


def _identity(text: str, taken: dict[str, int]) -> str:
    """Return a cell's id, a digest of its text: only a cell that changes gets another id."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    taken[digest] = taken.get(digest, 0) + 1
    return digest if taken[digest] == 1 else f"{digest}-{taken[digest]}"


def filled(text: str, lang: str) -> str:
    """Return ``text`` with its ``{{...}}`` filled in."""
    text = text.replace("{{lang}}", lang).replace("{{how_to_practice}}", practice.HOW[lang])
    text = MINUTES.sub(lambda found: str(practice.minutes(int(found[1]))), text)
    return text.replace("{{glossary}}", glossary(lang)) if "{{glossary}}" in text else text


def glossary(lang: str) -> str:
    """Return the glossary of ARCHITECTURE.md as a table for this language, in the order of its words."""
    entries = []
    for english, spanish, meaning, significado in glossary_rows():
        if lang == "es":
            entries.append((spanish, english, significado))
        else:
            entries.append((english, spanish, meaning))
    head = [f"| {' | '.join(GLOSSARY[lang])} |", "|---|---|---|"]
    return "\n".join(head + [f"| **{a}** | {b} | {c} |" for a, b, c in sorted(entries, key=_in_order)])


def _in_order(entry: tuple[str, ...]) -> str:
    return entry[0].lower().translate(str.maketrans("áéíóúüñ", "aeiouun"))


def glossary_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield (English, Spanish, what it is, qué es) from the table in ARCHITECTURE.md."""
    table = ARCHITECTURE.read_text(encoding="utf-8").split("\n## Glossary\n", 1)[1]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        english, spanish, meaning, significado = (part.strip() for part in line.strip("|").split("|"))
        yield english, spanish, meaning, significado
