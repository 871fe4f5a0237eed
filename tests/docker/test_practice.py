"""Exercise 23 where Docker is: the learner's files are started, and nothing of them is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.practice.check import check
from labkit.practice.exercise import find
from labkit.practice.verdict import Verdict
from labkit.practice.workspace import solution_of
from tests.tools.docker_rig import require_docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]


@pytest.fixture(autouse=True)
def _docker() -> Iterator[None]:
    require_docker()
    before = made()
    yield
    assert made() == before


def made() -> set[str]:
    """Return the names of the containers, networks and images of checks."""
    commands = (
        ["ps", "-a", "--format", "{{.Names}}"],
        ["network", "ls", "--format", "{{.Name}}"],
        ["images", "--format", "{{.Repository}}"],
    )
    lines = [
        line
        for words in commands
        for line in subprocess.run(
            ["docker", *words], capture_output=True, text=True, check=True, env=os.environ
        ).stdout.split()
    ]
    return {line for line in lines if line.startswith("labkit-practice-")}


def verdict_on(root: Path, *replaced: tuple[str, str]) -> Verdict:
    """Return the verdict on the solution, with some parts replaced."""
    exercise = find("containers")
    code = solution_of(exercise)
    for old, new in replaced:
        assert old in code
        code = code.replace(old, new)
    (root / "work").mkdir()
    (root / "work" / f"{exercise.module}.py").write_text(code, encoding="utf-8")
    return check(exercise, root)


def test_workers_that_are_started_again_until_redis_answers_are_right(tmp_path: Path) -> None:
    old = "    depends_on:\n      redis:\n        condition: service_healthy\n"
    verdict = verdict_on(tmp_path, (old, "    restart: always\n"))
    assert verdict.passed and not verdict.happened, verdict


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"worker.py"]', '"/srv/worker.py"]', "ended"),
        ("USER nobody", "USER nobody\nRUN cat /no/such/file", "not-built"),
        (
            '"redis-cli", "ping"]\n      interval: 1s',
            '"false"]\n      interval: 1s\n      retries: 1',
            "not-started",
        ),
    ],
)
def test_what_reading_cannot_see_is_a_finding(tmp_path: Path, old: str, new: str, code: str) -> None:
    verdict = verdict_on(tmp_path, (old, new))
    assert (verdict.stage, verdict.code) == ("real", code), verdict
