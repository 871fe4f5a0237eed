"""A kernel that has just started says 'run from the top'; errors in a lesson take a few calm lines."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.tools.command_line import ROOT

STARTUP = ROOT / "notebooks" / "settings" / "startup.py"


def outputs_of(*cells: str) -> list[list[nbformat.NotebookNode]]:
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    encrypted = Config(KernelManager={"transport_encryption": "auto"})
    NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3", config=encrypted).execute()
    return [cell.outputs for cell in notebook.cells]


def test_middle_cell_in_a_fresh_kernel_says_run_from_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", str(STARTUP))
    monkeypatch.setenv("LABKIT_LANG", "es")
    (tmp_path / "mine.py").write_text("def f():\n    return missing\n", encoding="utf-8")
    middle, of_file, names = outputs_of(
        "6 * 7\nwork = send(cluster, 40 * [0.1])",
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport mine\nmine.f()",
        "[name for name in dir() if name in ('install', '_install', 'annotations')]",
    )
    (error,) = middle
    assert error.traceback == [
        "NameError: name 'send' is not defined",
        "línea 2 de esta celda: work = send(cluster, 40 * [0.1])",
        "este kernel acaba de arrancar: aún no existe lo que definen las celdas de arriba",
        "ejecuta desde arriba: menú Run, Run All Above Selected Cell; después, otra vez esta celda",
    ]
    assert "Traceback" in "".join(of_file[0].traceback), "a file's own mistake is shown with the way there"
    assert names[0].data["text/plain"] == "[]"


def test_labkits_error_in_a_lesson_takes_three_lines_with_the_remedy() -> None:
    _begun, (error,), (name,) = outputs_of(
        "from labkit.classroom import begin\nlesson = begin('en')",
        "from labkit.core.errors import ClusterError\n"
        "raise ClusterError('the supervisor of this cluster has ended; open a new one')",
        "undefined",
    )
    assert error.traceback == [
        "ClusterError: the supervisor of this cluster has ended",
        "line 2 of this cell: raise ClusterError('the supervisor of this cluster has ended; open a new one')",
        "open a new one",
    ]
    assert error.evalue == "the supervisor of this cluster has ended; open a new one"
    assert "run from the top" in name.traceback[-1]
