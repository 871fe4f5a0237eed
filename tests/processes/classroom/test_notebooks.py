"""Every guided notebook passes plain ``pytest --nbval``, in time, and leaves nothing behind.

Each runs as a student's would: the file that is committed, in a folder and with a home of its own. Those of
practice are in ``tests/processes/practice/test_practice_notebooks.py``.
"""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest

from notebooks import sources
from tests.tools.notebooks import run_as_a_student

GUIDED = [name for name in sources.names() if name not in sources.with_exercises()]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebooks")]


@pytest.mark.parametrize(("name", "lang"), [*product(GUIDED, sources.LANGUAGES)])
def test_a_notebook_runs_in_a_fresh_kernel_and_leaves_nothing_behind(
    name: str, lang: str, tmp_path: Path
) -> None:
    notebook = tmp_path / lang / f"{name}.ipynb"
    notebook.parent.mkdir()
    shutil.copy(sources.notebook_path(name, lang), notebook)
    run_as_a_student(notebook, tmp_path, lang)
