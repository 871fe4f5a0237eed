"""Builds the course: ``notebooks/source/*.py`` becomes a notebook in each language, and a teacher's guide.

::

    python notebooks/build.py               build and execute all of them (make notebooks)
    python notebooks/build.py day1_threads  only this one
    python notebooks/build.py --prose       write them anew round the stored outputs; no code may have changed

``notebooks/sources.py`` describes the format of a source. From one source, for es and en alike:
``es/NAME.ipynb`` with outputs, and ``es/NAME_teacher.md`` if a cell is for the teacher. Apart from outputs,
the committed files must equal the ones built here: a test compares them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from notebooks import clock
from notebooks.guide import guide_of, guide_path
from notebooks.sources import LANGUAGES, UNSTORED, SourceError, claims, names, notebook_of, notebook_path

CELL_TIMEOUT_S = 120
MOST_BYTES = 700 << 10


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
