"""An exercise's text in one language: title, task, three hints.

The file is Markdown: ``# title``, the task, then three sections ``## …``, the hints in their order. A hint's
heading is for authors; the learner sees its number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.core.errors import N_, InvariantBroken
from labkit.practice.exercise import Exercise

HINTS = 3
LANGUAGES = ("en", "es")


@dataclass(frozen=True)
class Text:
    """What a learner reads before and during the work, as Markdown."""

    title: str
    task: str
    hints: tuple[str, ...]


def read(exercise: Exercise, language: str) -> Text:
    """Return the text of an exercise. Raises InvariantBroken if a part is missing."""
    markdown = (exercise.folder / f"{language}.md").read_text(encoding="utf-8")
    head, *hints = re.split(r"^## .*\n", markdown, flags=re.MULTILINE)
    title, _, task = head.partition("\n")
    text = Text(title.removeprefix("# ").strip(), task.strip(), tuple(hint.strip() for hint in hints))
    complete = title.startswith("# ") and text.title and text.task and all(text.hints)
    if not complete or len(text.hints) != HINTS:
        raise InvariantBroken(
            N_("{file}: a title, a task and {hints} hints are needed"),
            file=f"{exercise.module}/{language}.md",
            hints=HINTS,
        )
    return text
