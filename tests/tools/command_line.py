"""For tests of the command line: run a command in this process or as a real one, and keep its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from labkit import cli
from labkit.cluster import ports

ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    """The exit code of a command and what it printed."""

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
        """Run a command that must succeed and print nothing to stderr."""
        said = self(*words)
        assert (said.code, said.err) == (0, ""), said
        return said

    def refused(self, *words: object, code: int) -> str:
        """Run a command that must fail with this exit code and one line on stderr; return the line."""
        said = self(*words)
        assert said.code == code, said
        assert said.out == "" and said.err.count("\n") == 1, said
        return said.err.strip()


def free_ports() -> dict[str, str]:
    """Return settings for five ports that no other program is going to use.

    The usual ports would collide if two test runs start on one machine at the same moment.
    """
    chosen = ports.choose("127.0.0.1", {}, usual=False)
    chosen[ports.API] = ports.choose_for_api(None, usual=False)
    return {ports.VARIABLES[kind]: str(port) for kind, port in chosen.items()}


@contextmanager
def background_cluster(home: Path, *words: object) -> Iterator[None]:
    """Keep a cluster up in the background, started with ``up WORDS``, for commands with this LABKIT_HOME.

    It has no HTTP side: few tests need one, and it takes a second to start.
    """
    environ = {**os.environ, "LABKIT_HOME": str(home), **free_ports()}
    out, err = (starting := command("up", "--no-api", *words, env=environ)).communicate(timeout=60)
    assert starting.returncode == 0, out + err
    try:
        yield
    finally:
        command("down", env=environ).communicate(timeout=30)


def command(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start ``python -m labkit WORDS`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "labkit", *(str(word) for word in words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
