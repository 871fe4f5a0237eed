"""Builds the course: ``notebooks/source/*.py`` becomes a notebook in each language, and a teacher's guide.

::

    python notebooks/build.py               build and execute all of them (make notebooks)
    python notebooks/build.py day1_threads  only this one
    python notebooks/build.py --prose       write them anew round the stored outputs; no code may have changed

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

From one source, for es and en alike: ``es/NAME.ipynb`` with outputs, and ``es/NAME_teacher.md`` if a cell is
for the teacher. Apart from outputs, the committed files must equal the ones built here: a test compares them.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import clock, practice
from notebooks.clock import SECTION, Section

HERE = Path(__file__).parent
SOURCES = HERE / "source"
ARCHITECTURE = HERE.parent / "ARCHITECTURE.md"
LANGUAGES = ("es", "en")
CELL_TIMEOUT_S = 120
MOST_BYTES = 700 << 10

UNSTORED = "unstored"
IGNORED, COMPARED = "nbval-ignore-output", "nbval-check-output"
STEADY = {"checkpoint", "end", "keep", "source"}
"""Functions that print the same in every run."""
BEGIN = "begin"
"""Begins a lesson, and prints what machine this is."""
MINUTES = re.compile(r"\{\{minutes_of_day_(\d)\}\}")
ANSWER = "answer"
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)

WORDS = {
    "es": {
        "guide": "Guía docente",
        "clock": "El reloj",
        "minutes": "minutos",
        "section": "sección",
        "costs": "leer | ejecutar | mirar y apostar | hablar | en total",
        "sum": "suma",
        "how": (
            "Así se cuenta, en minutos: leer, {words} palabras de texto y código por minuto; ejecutar, lo "
            "medido al construir el cuaderno; mirar y apostar, {look} por figura, tabla, listado o apuesta; "
            "hablar, {ask} por pregunta de esta guía, y sus silencios. Lo que sobra es tuyo."
        ),
        "point": ",",
        "term": "término",
        "other": "en inglés",
        "is": "qué es",
    },
    "en": {
        "guide": "Teacher's guide",
        "clock": "The clock",
        "minutes": "minutes",
        "section": "section",
        "costs": "reading | running | looking and betting | talking | in all",
        "sum": "sum",
        "how": (
            "How it is counted, in minutes: reading, {words} words of prose and code a minute; running, as "
            "measured when the notebook was built; looking and betting, {look} a figure, table, listing or "
            "bet; talking, {ask} a question of this guide, and its silences. The rest is yours."
        ),
        "point": ".",
        "term": "term",
        "other": "in Spanish",
        "is": "what it is",
    },
}


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


# --- reading ------------------------------------------------------------------------------------------------


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
    words = WORDS[lang]
    entries = []
    for english, spanish, meaning, significado in glossary_rows():
        if lang == "es":
            entries.append((spanish, english, significado))
        else:
            entries.append((english, spanish, meaning))
    head = [f"| {words['term']} | {words['other']} | {words['is']} |", "|---|---|---|"]
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


# --- the teacher's guide ------------------------------------------------------------------------------------


def guide_of(name: str, lang: str) -> str | None:
    """Return the teacher's guide as Markdown, or None if no cell is for the teacher."""
    cells = read(name)
    if not any(cell.teacher for cell in cells):
        return None
    words = WORDS[lang]
    mine = [cell for cell in cells if cell.lang == lang]
    title = next(match[1] for cell in mine if (match := TITLE.search(cell.text)))
    parts = [f"# {words['guide']} · {title}"]
    body: list[str] = []
    heading = ""
    for cell in mine:
        if not cell.teacher:
            for match in SECTION.finditer(cell.text):
                heading = match[0]
        else:
            body += [heading, filled(cell.text, lang)] if heading else [filled(cell.text, lang)]
            heading = ""
    first_section = next((i for i, part in enumerate(body) if part.startswith("## ")), len(body))
    table = _clock(costs(name, lang), lang)
    parts += [*body[:first_section], f"## {words['clock']}", table, *body[first_section:]]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def costs(name: str, lang: str) -> list[clock.Cost]:
    """Return what each section of the guided part costs a class, by the notebook that is stored."""
    path = notebook_path(name, lang)
    notebook = nbformat.read(path, as_version=4) if path.exists() else notebook_of(name, lang)
    spoken = []
    title = ""
    for cell in read(name):
        if cell.lang == lang and cell.teacher:
            spoken.append(clock.Said(title, cell.text, cell.silent))
        elif cell.lang == lang:
            title = next((section.title for section in clock.sections_in(cell.text)), title)
    return clock.costs(notebook, spoken)


def _clock(costs: list[clock.Cost], lang: str) -> str:
    """Return the clock as a table, and how it is counted."""
    words = WORDS[lang]

    def row(first: str, second: str, *minutes: float) -> str:
        numbers = [f"{each:.1f}".replace(".", words["point"]) for each in minutes]
        return f"| {' | '.join([first, second, *numbers])} |"

    lines = [f"| {words['minutes']} | {words['section']} | {words['costs']} |", "|---|---|" + "--:|" * 5]
    for cost in costs:
        begin, end = cost.section.minutes or (0, 0)
        lines.append(row(f"{begin}–{end}", cost.section.title, *cost[1:], cost.total))
    sums = [sum(column) for column in zip(*[(*cost[1:], cost.total) for cost in costs], strict=True)]
    lines.append(row("", f"**{words['sum']}**", *sums))
    look, ask = (f"{each:g}".replace(".", words["point"]) for each in (clock.LOOK_MIN, clock.QUESTION_MIN))
    how = words["how"].format(words=clock.WORDS_A_MINUTE, look=look, ask=ask)
    return "\n".join(lines) + "\n\n" + how


# --- files --------------------------------------------------------------------------------------------------


def notebook_path(name: str, lang: str) -> Path:
    return HERE / lang / f"{name}.ipynb"


def guide_path(name: str, lang: str) -> Path:
    return HERE / lang / f"{name}_teacher.md"


def executed(notebook: NotebookNode, folder: Path, claims: Mapping[str, str] | None = None) -> NotebookNode:
    """Return the notebook with the outputs of a fresh kernel that ran in ``folder``.

    Raises SourceError for a cell that fails or writes to stderr: a course should contain neither. So does a
    run whose figures contradict one of ``claims``, expressions by the id of the cell that they follow.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    unstored = [cell for cell in notebook.cells if UNSTORED in cell.metadata.get("tags", ())]
    texts = [cell.source for cell in unstored]
    for cell in unstored:
        cell.source = ""  # a cell without code is not sent to the kernel
    _insert_checks(notebook, claims or {})
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        config=Config(KernelManager={"transport_encryption": "auto"}),
    )
    with tempfile.TemporaryDirectory() as learner:  # its exercises are nobody's, and nothing is passed
        try:
            client.execute(env={**os.environ, "LABKIT_WORK": learner})
        except CellExecutionError as error:
            raise SourceError(str(error)) from error
    for cell, text in zip(unstored, texts, strict=True):
        cell.source = text
    _remove_checks(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise SourceError(f"this cell wrote to stderr:\n{cell.source}\n\n{output.text}")
    clock.note_running(notebook)
    notebook.metadata["language_info"] = {"name": "python"}  # not the version that happened to run it
    return notebook


def _insert_checks(notebook: NotebookNode, claims: Mapping[str, str]) -> None:
    """Add a cell after each cell with a claim, which fails if the claim is false."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if (claim := claims.get(cell.id)) is not None:
            text = f"this run contradicts the prose beside it, so build again on a quieter machine: {claim}"
            code = f"if not ({claim}):\n    raise AssertionError({text!r})"
            cells.append(new_code_cell(code, id=f"check-{cell.id}", metadata={"check": True}))
    notebook.cells = cells


def _remove_checks(notebook: NotebookNode) -> None:
    """Remove those cells, and number the others' executions as if they had never been there."""
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("check")]
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is not None]
    for number, cell in enumerate(ran, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def with_stored_outputs(notebook: NotebookNode, stored: NotebookNode) -> NotebookNode:
    """Return the notebook with the outputs that are stored for the same code; SourceError if code changed."""
    old = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if cell.id not in old:
                raise SourceError(f"this code has changed, so it must be executed:\n{cell.source}")
            cell.outputs, cell.execution_count = old[cell.id].outputs, old[cell.id].execution_count
    if "ran_s" in stored.metadata.get("labkit", {}):
        notebook.metadata["labkit"]["ran_s"] = stored.metadata["labkit"]["ran_s"]
    return notebook


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as it is before it is executed, for comparison."""
    notebook.metadata["labkit"].pop("ran_s", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def build(name: str, lang: str, *, execute: bool) -> None:
    """Write the notebook and the guide called ``name`` in this language."""
    path = notebook_path(name, lang)
    path.parent.mkdir(exist_ok=True)
    notebook = notebook_of(name, lang)
    if execute:
        notebook = executed(notebook, path.parent, claims(name, lang))
    else:
        notebook = with_stored_outputs(notebook, nbformat.read(path, as_version=4))
    nbformat.validate(notebook)
    text = nbformat.writes(notebook) + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise SourceError(f"{path.name} would have {len(text.encode()) >> 10} KiB; make its figures smaller")
    path.write_text(text, encoding="utf-8")
    guide = guide_of(name, lang)
    if guide is not None:
        guide_path(name, lang).write_text(guide, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the course's notebooks from notebooks/source.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    parser.add_argument("--prose", action="store_true", help="keep the stored outputs: only prose changed")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names()):
        parser.error(f"no source is called {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a remark of the debugger's on stderr
    for name in options.names or names():
        for lang in LANGUAGES:
            began = time.monotonic()
            try:
                build(name, lang, execute=not options.prose)
            except (SourceError, FileNotFoundError) as error:
                print(f"{name}, {lang}: {error}", file=sys.stderr)
                return 1
            size = notebook_path(name, lang).stat().st_size >> 10
            print(f"{lang}/{name}.ipynb  {size} KiB  {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
