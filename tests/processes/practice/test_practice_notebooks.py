"""Notebooks of practice pass plain ``pytest --nbval``: as a student gets them, and solved.

As a student gets them, each stub must answer 'not yet': nbval compares the verdicts that are the same in
every run, and the list at the end, which shows each exercise as tried and none as passed.
"""

from __future__ import annotations

import shutil
from itertools import cycle, product
from pathlib import Path

import nbformat
import pytest

from labkit.practice.session import Practice
from notebooks import sources
from tests.tools.notebooks import run_as_a_student

NO_DOCKER = "tcp://127.0.0.1:1"
"""Where no engine listens: containers are started for exercise 23 in the test of each exercise, once."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "lang"), [*product(sources.with_exercises(), sources.LANGUAGES)])
def test_every_stub_answers_not_yet(name: str, lang: str, tmp_path: Path) -> None:
    notebook = tmp_path / lang / f"{name}.ipynb"
    notebook.parent.mkdir()
    shutil.copy(sources.notebook_path(name, lang), notebook)
    learner = run_as_a_student(notebook, tmp_path, lang)
    assert last_verdicts(learner) == dict.fromkeys(ids(name), "fail")


@pytest.mark.parametrize(
    ("name", "lang"), [*zip(sources.with_exercises(), cycle(sources.LANGUAGES), strict=False)]
)
def test_no_solution_fails(name: str, lang: str, tmp_path: Path) -> None:
    """That each solution passes is shown exercise by exercise; here a busy machine may be inconclusive."""
    notebook = tmp_path / lang / f"{name}.ipynb"
    notebook.parent.mkdir()
    nbformat.write(sources.notebook_of(name, lang, solved=True), notebook)
    learner = run_as_a_student(notebook, tmp_path, lang, DOCKER_HOST=NO_DOCKER)
    verdicts = last_verdicts(learner)
    assert list(verdicts) == ids(name)
    assert "pass" in verdicts.values() and set(verdicts.values()) <= {"pass", "inconclusive"}, verdicts


def ids(name: str) -> list[str]:
    return [cell.exercise for cell in sources.read(name) if cell.exercise and cell.lang == "en"]


def last_verdicts(learner: Path) -> dict[str, str]:
    return {exercise: standing.last for exercise, standing in Practice(learner).standings().items()}
