"""``practice hint``: of the present exercise or of a named one, the next hint or a certain one."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cli import main


@pytest.mark.parametrize(
    ("words", "title", "hint"),
    [
        ("hint", "1 · ", "Hint 1 of 3"),
        ("hint 2", "1 · ", "Hint 2 of 3"),
        ("hint --level 3", "1 · ", "Hint 3 of 3"),
        ("hint least-busy", "12 · ", "Hint 1 of 3"),
        ("hint least-busy 3", "12 · ", "Hint 3 of 3"),
        ("hint 12", "12 · ", "Hint 1 of 3"),
        ("hint 12 2", "12 · ", "Hint 2 of 3"),
        ("hint 2 3", "2 · ", "Hint 3 of 3"),
    ],
)
def test_a_hint_is_of_this_exercise_and_this_level(
    words: str,
    title: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path))
    assert main(["practice", *words.split()]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(title) and shown[1] == hint
