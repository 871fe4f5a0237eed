"""What a learner has done, as a file of JSON lines: ``work/progress.jsonl``.

Like the cluster's own history it is only appended to: a line each for ``checked``, ``hint``, ``solution`` and
``reset``. Command line and notebook write the same file, also at the same time. A line that cannot be read is
left out, so a damaged file loses only its damaged lines. Nothing of it is evidence for a grade: ``grade``
runs the checks again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.core.errors import InvalidInput, LabkitError
from labkit.practice.exercise import Exercise
from labkit.practice.verdict import Verdict
from labkit.practice.workspace import Workspace
from labkit.support.refusals import refusal

NAME = "progress.jsonl"
MOST_LINE = 4096
"""Bytes of a line: ours have about a hundred."""


@dataclass
class Standing:
    """How far a learner is with one exercise."""

    passed: bool = False
    attempts: int = 0
    hints: int = 0
    """The highest hint that was read."""
    saw_solution: bool = False
    last: str = ""
    """The kind of the last verdict: pass, fail, inconclusive; empty without one."""


class Progress:
    """The record of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.path: Path = workspace.folder / NAME
        self.problem: LabkitError | None = None
        """Why the last line could not be written (a full disk); it costs the line, not the verdict."""

    def checked(self, verdict: Verdict) -> None:
        """Note a verdict."""
        self._append("checked", verdict.exercise, kind=str(verdict.kind), code=verdict.code)

    def hint(self, exercise: Exercise, level: int) -> None:
        """Note that a hint was read."""
        self._append("hint", exercise.id, level=level)

    def solution(self, exercise: Exercise) -> None:
        """Note that the solution was read."""
        self._append("solution", exercise.id)

    def reset(self, exercise: Exercise) -> None:
        """Note that the learner began anew: what was passed stays passed."""
        self._append("reset", exercise.id)

    def standings(self) -> dict[str, Standing]:
        """Return the standing in each exercise that the record names."""
        standings: dict[str, Standing] = {}
        for line in self._lines():
            standing = standings.setdefault(str(line.get("exercise")), Standing())
            match line.get("did"):
                case "checked":
                    standing.last = str(line.get("kind"))
                    standing.attempts += standing.last == "fail" or standing.last == "pass"
                    standing.passed |= standing.last == "pass"
                case "hint":
                    level = line.get("level")
                    standing.hints = max(standing.hints, level if type(level) is int else 0)
                case "solution":
                    standing.saw_solution = True
        return standings

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except (FileNotFoundError, NotADirectoryError):
            return
        with file:
            whole = True  # a line longer than MOST_LINE is none of ours, nor is its rest
            while line := file.readline(MOST_LINE):
                began_a_line, whole = whole, line.endswith(b"\n")
                if not began_a_line or (not whole and len(line) == MOST_LINE):
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value

    def _append(self, did: str, exercise: str, **details: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"at": at, "did": did, "exercise": exercise, **details})
        self.problem = None
        try:
            self._workspace.make_folder()
            with open(self.path, "ab", buffering=0) as file:
                # In one write, and after a half line of a crash: lines of two writers never mix.
                lead = "" if file.tell() == 0 or _ends_a_line(self.path) else "\n"
                file.write(f"{lead}{line}\n".encode())
        except InvalidInput as error:
            self.problem = error
        except OSError as error:
            self.problem = refusal(error)
            if self.problem is None:
                raise


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
