"""A learner's Dockerfile and compose file, read without Docker: what is in them, and what may not be."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labkit.practice import container_files as files
from labkit.practice import containers
from labkit.practice.check import check
from labkit.practice.exercise import Exercise, find
from labkit.practice.limits import restrict
from labkit.practice.screen import verdict_lines
from labkit.practice.verdict import Finding, Inconclusive
from labkit.practice.workspace import solution_of

SERVICE = "services:\n  worker:\n    build: .\n"


@pytest.fixture
def containers_exercise() -> Exercise:
    return find("containers")


def write(root: Path, exercise: Exercise, old: str = "", new: str = "") -> None:
    """Write the solution as the learner's file, with one part replaced."""
    code = solution_of(exercise)
    assert old in code
    (root / "work" / f"{exercise.module}.py").write_text(code.replace(old, new), encoding="utf-8")


def test_instructions_are_joined_and_comments_left_out() -> None:
    text = "# a\nfrom python AS one\n  # b\nRUN a \\\n  # in between\n  && b\n\nCOPY --chown=1:1 x y\n"
    assert files.instructions(text) == [
        ("FROM", "python AS one"),
        ("RUN", "a    && b"),
        ("COPY", "--chown=1:1 x y"),
    ]


def test_the_images_that_a_dockerfile_begins_with_are_not_its_own_stages() -> None:
    found = files.instructions(
        "FROM a AS one\nUSER x\nFROM --platform=linux/amd64 b as two\nFROM one\nCMD c\n"
    )
    assert list(files.bases(found)) == ["a", "b"]
    assert files.last_stage(found) == [("CMD", "c")]


@pytest.mark.parametrize(
    "line",
    [
        "COPY worker.py .",
        "COPY . /app",
        "ADD ./worker.py /x/",
        'COPY ["worker.py", "/app/"]',
        "COPY *.py /app/",
        "COPY --chown=nobody a.txt worker.py /app/",
        "COPY --from=one /app /app",
    ],
)
def test_a_copied_file_is_found_in_every_spelling(line: str) -> None:
    assert files.copies(files.instructions(line), "worker.py")


@pytest.mark.parametrize("line", ["COPY work.py .", "RUN cp worker.py /app", "COPY worker.pyc worker.py"])
def test_a_file_that_is_not_copied_is_not_found(line: str) -> None:
    assert not files.copies(files.instructions(line), "worker.py")


def test_variables_are_read_from_both_spellings_of_both_files() -> None:
    assert files.environment_of(files.instructions('ENV A=1 B="two 2"\nENV C three\n')) == {
        "A": "1",
        "B": "two 2",
        "C": "three",
    }
    assert files.environment({"environment": ["A=1", "B=x=y"]}) == {"A": "1", "B": "x=y"}
    assert files.environment({"environment": {"A": 1}}) == {"A": "1"}
    assert files.environment({"environment": "A=1"}) == {}


@pytest.mark.parametrize(
    ("service", "count"),
    [
        ({}, 1),
        ({"deploy": {"replicas": 3}}, 3),
        ({"scale": "3"}, 3),
        ({"deploy": {"replicas": "three"}}, 0),
        ({"deploy": {"replicas": [3]}}, 0),
        ({"deploy": 3}, 1),
    ],
)
def test_a_services_containers_are_counted(service: dict[str, object], count: int) -> None:
    assert files.how_many(service) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "services",
        "services: [a, b]",
        "services:\n  a: redis\n",
        "services:\n\ta: {}\n",
        "services: {a: {image: 2001-99-99}}",
        "services: {? [a] : {}}",
        "a: &a [*a]\nservices: *a",
        "services: " + "[" * 3000,
        "services:\n  a: {image: !!python/name:os.system }\n",
        "a: &a [x, x]\nservices: {b: {environment: [" + ", ".join(["*a"] * 30) + "]}}",
    ],
)
def test_what_is_no_compose_file_is_a_finding(text: str) -> None:
    with pytest.raises(Finding) as caught:
        files.read_compose(text)
    assert caught.value.code in ("not-compose", "not-allowed")
    assert str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "privileged: true",
        "volumes: ['/:/host']",
        "network_mode: host",
        "pid: host",
        "ports: ['8000:8000']",
        "env_file: /etc/passwd",
        "extends: {file: /x.yml, service: y}",
        "deploy: {placement: {}}",
    ],
)
def test_what_reaches_beyond_the_containers_is_not_allowed(line: str) -> None:
    with pytest.raises(Finding) as caught:
        files.read_compose(f"{SERVICE}    {line}\n")
    assert caught.value.code == "not-allowed"


def test_a_top_level_include_is_not_allowed() -> None:
    with pytest.raises(Finding) as caught:
        files.read_compose(f"include: [/x.yml]\n{SERVICE}")
    assert caught.value.code == "not-allowed"


def test_without_docker_a_pass_says_that_the_files_were_only_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path, containers_exercise: Exercise
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # an empty folder: no docker
    monkeypatch.setattr(containers, "project", None)  # nothing may be started
    write(root, containers_exercise)
    verdict = check(containers_exercise, root)
    assert verdict.passed, verdict
    assert "only read" in verdict.happened
    assert any("only read" in line.text for line in verdict_lines(containers_exercise, verdict))


def test_a_hand_in_that_is_graded_starts_no_container(
    monkeypatch: pytest.MonkeyPatch, root: Path, containers_exercise: Exercise
) -> None:
    monkeypatch.setattr(containers, "project", None)
    write(root, containers_exercise)
    verdict = check(containers_exercise, root, prepare=restrict)
    assert verdict.passed and "hand-ins" in verdict.happened, verdict


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    deploy:\n      replicas: 3\n", "    scale: 3\n"),
        ('CMD ["python", "worker.py"]', "CMD python worker.py"),
        ("    environment:\n      REDIS_HOST: redis\n", "    environment: [REDIS_HOST=redis]\n"),
        ("    build: .\n", "    build: {context: ./}\n"),
        ("USER nobody", "USER 1000:1000"),
    ],
)
def test_other_spellings_of_a_right_answer_pass_the_reading(
    old: str, new: str, root: Path, containers_exercise: Exercise
) -> None:
    write(root, containers_exercise, old, new)
    verdict = check(containers_exercise, root, stages=("simulated",))
    assert verdict.passed, verdict


class Inspected:
    """Docker, as far as it lists containers; ``state`` is what it says of the only one."""

    environ: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.state, self.restarts = "running", 0

    def compose_command(self) -> list[str]:
        return ["docker", "compose"]

    def containers(self) -> list[Any]:
        labels = {"com.docker.compose.service": "worker"}
        return [
            {
                "Id": "c1",
                "RestartCount": self.restarts,
                "State": {"Status": self.state},
                "Config": {"Labels": labels},
            }
        ]


def test_a_container_has_ended_if_it_is_down_or_was_started_again_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def logs(*_given: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "first\n\nlast\n", "")

    monkeypatch.setattr(containers, "run_command", logs)
    docker = Inspected()
    project = containers.Project(docker, "image")  # type: ignore[arg-type]
    docker.restarts = 5  # while Redis was not there yet
    for docker.state, docker.restarts, words in (
        ("running", 5, None),
        ("restarting", 7, None),
        ("restarting", 8, "last"),
        ("exited", 5, "last"),
    ):
        assert project.last_words(["worker"]) == words
        assert project.last_words(["redis"]) is None


def test_a_project_whose_time_is_over_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LIMIT_S", 0.0)
    project = containers.Project(Inspected(), "image")  # type: ignore[arg-type]
    with pytest.raises(Inconclusive, match="three workers"):
        project.until(lambda: False, "three workers")
    with pytest.raises(Inconclusive):
        project.ask("redis", "redis-cli", "PING")


@pytest.mark.parametrize("recovers", [True, False])
def test_a_health_check_is_believed_only_once_redis_answers(
    recovers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine Redis may begin to answer when the health check has failed three times."""
    happened: list[str] = []
    ups = iter(["dependency failed to start: container x-redis-1 is unhealthy"] * (2 - recovers) + [""])

    def run_command(words: list[str], *_given: Any) -> subprocess.CompletedProcess[str]:
        happened.append(words[2])
        complaint = next(ups)
        return subprocess.CompletedProcess(words, bool(complaint), "", complaint)

    def answers() -> bool:
        happened.append("asked")
        return happened.count("asked") > 2

    class Probed(Inspected):
        probes = 0

        def containers(self) -> list[Any]:
            self.probes += 1
            (one,) = super().containers()
            one["State"]["Health"] = {"Status": "unhealthy", "Log": [{"End": f"at {self.probes // 3}"}]}
            return [one]

    monkeypatch.setattr(containers, "run_command", run_command)
    monkeypatch.setattr(containers, "POLL_S", 0.0)
    project = containers.Project(Probed(), "image")  # type: ignore[arg-type]
    if recovers:
        project.up(answers)
    else:
        with pytest.raises(Finding) as caught:
            project.up(answers)
        assert caught.value.code == "not-started"
    assert happened == ["up", "asked", "asked", "asked", "up"]
    assert isinstance(project.docker, Probed) and project.docker.probes >= 3
