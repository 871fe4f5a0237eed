"""The exercises and their texts: complete, in order, found by name."""

from __future__ import annotations

import ast

import pytest

from labkit.core.errors import InvalidInput, InvariantBroken
from labkit.practice import texts
from labkit.practice.exercise import Exercise, catalogue, find
from labkit.practice.workspace import solution_of, stub_of


def test_numbers_ids_and_days_are_in_order() -> None:
    exercises = catalogue()
    assert [one.number for one in exercises] == sorted({one.number for one in exercises})
    assert len({one.id for one in exercises}) == len(exercises)
    for one in exercises:
        assert one.module.startswith(f"ex{one.number:02}_")
        assert 1 <= one.day <= 4 and one.minutes > 0
    assert {one.number for one in exercises} >= set(range(1, 21))


@pytest.mark.parametrize("one", catalogue(), ids=lambda one: one.id)
def test_texts_are_complete_and_of_use_in_both_languages(one: Exercise) -> None:
    english, spanish = (texts.read(one, language) for language in texts.LANGUAGES)
    assert english.title != spanish.title and english.task != spanish.task
    assert english.task.count("\n* ") == spanish.task.count("\n* ")
    ast.parse(stub_of(one))
    assert stub_of(one) != solution_of(one)


def test_an_exercise_is_found_by_id_number_and_file() -> None:
    first = catalogue()[0]
    for name in (first.id, "1", "01", first.module, f"{first.module}.py"):
        assert find(name) is first


def test_an_unknown_name_tells_the_nearest_one() -> None:
    with pytest.raises(InvalidInput, match="do you mean first-task"):
        find("frist-task")
    with pytest.raises(InvalidInput, match="practice list shows all"):
        find("xxxxxxxxxx")


@pytest.mark.parametrize(
    "text",
    ["no title\n\ntask\n## a\n1\n## b\n2\n## c\n3\n", "# T\n\ntask\n## a\n1\n## b\n2\n", "# T\n## a\n1\n"],
)
def test_a_text_that_lacks_a_part_is_an_error_that_names_the_file(exercise: Exercise, text: str) -> None:
    (exercise.folder / "en.md").write_text(text, encoding="utf-8")
    with pytest.raises(InvariantBroken, match=r"ex97_double/en\.md"):
        texts.read(exercise, "en")
