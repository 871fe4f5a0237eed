"""Every combination of counts and causes reads right, in both languages."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from labkit.cli.sent_again import again_in_words
from labkit.core.history.causes import KILLED, REASONS, REASONS_OF_MANY, RETURNED, SILENT
from labkit.support.i18n import _, set_language

PLURAL = {"en": r"\b(their|they|them|were)\b", "es": r"\b(sus|las|perdidos|volvieron|callaron)\b"}


def why(text: str) -> str:
    return text.partition(": ")[2].removesuffix(".")


@pytest.fixture(params=["en", "es"])
def language(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    set_language(chosen)
    return chosen


def test_there_are_words_for_one_and_for_many() -> None:
    assert REASONS.keys() == REASONS_OF_MANY.keys()


@pytest.mark.parametrize("cause", REASONS)
def test_one_task_has_one_worker(language: str, cause: str) -> None:
    text = again_in_words({"a": [cause]}, of=5)
    assert why(text) == _(REASONS[cause])
    assert not re.search(PLURAL[language].replace("|were", "").replace("las|", ""), why(text))


@pytest.mark.parametrize("cause", REASONS)
@pytest.mark.parametrize("tasks", [2, 3, 100])
def test_many_tasks_have_many_workers(language: str, cause: str, tasks: int) -> None:
    text = again_in_words({str(n): [cause] for n in range(tasks)}, of=200)
    assert text.startswith({"en": f"{tasks} of them were", "es": f"{tasks} de ellas se enviaron"}[language])
    assert why(text) == _(REASONS_OF_MANY[cause])
    told = why(text).replace("el broker que las tenía ya no está, y las", "las")
    assert not re.search(
        r"\b(its|it|was)\b" if language == "en" else r"\b(su worker|se dio|volvió|calló)\b", told
    )


@pytest.mark.parametrize(("one", "other"), list(combinations(REASONS, 2)))
def test_of_several_causes_each_is_counted_and_told_of_one_attempt(
    language: str, one: str, other: str
) -> None:
    text = again_in_words({"a": [one], "b": [other], "c": [other]}, of=5)
    assert why(text) == f"2 × {_(REASONS[other])}; 1 × {_(REASONS[one])}"
    assert again_in_words({"a": [one, other]}, of=5).startswith(
        {"en": "1 of them was", "es": "1 de ellas se envió"}[language]
    )


def test_one_cause_twice_is_counted(language: str) -> None:
    assert why(again_in_words({"a": [KILLED, KILLED]}, of=5)) == f"2 × {_(REASONS[KILLED])}"
    assert why(again_in_words({"a": [KILLED, KILLED], "b": [KILLED]})) == f"3 × {_(REASONS[KILLED])}"


@pytest.mark.parametrize("causes", [[KILLED], [RETURNED, SILENT]])
def test_the_only_picture_is_not_one_of_several(language: str, causes: list[str]) -> None:
    text = again_in_words({"a": causes}, of=1)
    assert text.startswith(
        {"en": "It was sent to a worker again: ", "es": "Se envió otra vez a un worker: "}[language]
    )
