"""A small exercise of the tests' own, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.practice.exercise import Exercise

SOURCE = '''"""{title}"""


def double(number):
    # SOLUTION
    return 2 * number
    # STUB
    # raise NotImplementedError
    # END
'''


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    folder = tmp_path / "exercises" / "ex97_double"
    folder.mkdir(parents=True)
    (folder / "source.py").write_text(SOURCE, encoding="utf-8")
    for language, title in (("en", "Twice"), ("es", "El doble")):
        text = f"# {title}\n\nThe task.\n\n## A\none\n\n## B\ntwo\n\n## C\nthree\n"
        (folder / f"{language}.md").write_text(text, encoding="utf-8")
    return Exercise("double", 97, 3, 5, (), 2, folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The learner's folder, which holds work/."""
    (tmp_path / "mine" / "work").mkdir(parents=True)
    return tmp_path / "mine"
