"""For tests of the command line: run a command in this process or as a real one, and keep what it said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from labkit import cli

ROOT = Path(__file__).parents[1]


class Said(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """``lab("status", "--json")`` runs the command line in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: object) -> Said:
        self._capture.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = self._capture.readouterr()
        return Said(code, out, err)

    def done(self, *words: object) -> Said:
        """Run a command that must succeed and complain about nothing."""
        said = self(*words)
        assert (said.code, said.err) == (0, ""), said
        return said

    def refused(self, *words: object, code: int) -> str:
        """Run a command that must fail with this exit code and one line on stderr; return the line."""
        said = self(*words)
        assert said.code == code, said
        assert said.out == "" and said.err.count("\n") == 1, said
        return said.err.strip()


def command(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start ``python -m labkit WORDS`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "labkit", *(str(word) for word in words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
