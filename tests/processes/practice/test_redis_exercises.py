"""What the exercises on Redis share: the server, the client that can be killed, several processes at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.core.errors import LabkitError
from labkit.mirror.server import find_binary
from labkit.practice import crew as crews
from labkit.practice import redis_server
from labkit.practice.check import REAL, SIMULATED
from labkit.practice.crew import Crew
from labkit.practice.exercise import find
from labkit.practice.grade import grade, hand_ins
from labkit.practice.learner import Learner
from labkit.practice.redis_peer import Journal, Killed, connect
from labkit.practice.redis_server import Redis, private_redis
from labkit.practice.verdict import Finding, Kind
from labkit.practice.verify import run
from labkit.practice.workspace import solution_of, stub_of
from tests.tools.waiting import require

NAIVE = {"21": ("lost",), "22": ("wrong-active", "too-late"), "24": ("busier-worker",)}
"""What rejects the stub of each exercise on real processes; on a slow machine it may be the second."""


@pytest.fixture
def server() -> Iterator[Redis]:
    require(find_binary(), "a Redis server")
    with private_redis() as redis:
        yield redis


@pytest.mark.parametrize("number", NAIVE)
def test_the_naive_version_fails_on_real_processes_too(number: str) -> None:
    require(find_binary(), "a Redis server")
    exercise = find(number)
    verdict = run(exercise, stub_of(exercise), (REAL,))
    assert (verdict.kind, verdict.stage) == (Kind.FAIL, REAL)
    assert verdict.code in NAIVE[number]


def test_hand_ins_on_redis_are_graded_in_isolation(tmp_path: Path) -> None:
    require(find_binary(), "a Redis server")
    exercises = [find(number) for number in NAIVE]
    folder = tmp_path / "ana"
    folder.mkdir()
    for one in exercises:
        (folder / f"{one.module}.py").write_text(solution_of(one), encoding="utf-8")
    grades = grade(*hand_ins(tmp_path, exercises), exercises)
    assert [(one.exercise.id, one.word) for one in grades] == [(one.id, "pass") for one in exercises]


def test_the_server_is_gone_after_its_check(server: Redis) -> None:
    with private_redis() as other:
        pids = {one.client.info("server")["process_id"] for one in (server, other)}
        assert len(pids) == 2
        gone = psutil.Process(other.client.info("server")["process_id"])
    assert not gone.is_running()
    assert server.client.ping()


@pytest.mark.parametrize("stage", ["simulated", "real"])
def test_a_machine_without_a_redis_server_gives_no_verdict(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(redis_server, "find_binary", lambda: None)
    exercise = find("21")
    verdict = run(exercise, solution_of(exercise), (stage,))
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.happened.startswith("this exercise needs a Redis server")


def test_a_server_that_ends_at_once_gives_no_verdict_but_its_last_line(
    monkeypatch: pytest.MonkeyPatch, server: Redis
) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr(redis_server, "_free_port", lambda: port)  # another program took it
    exercise = find("21")
    verdict = run(exercise, solution_of(exercise))
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.params["port"] == port and verdict.params["reason"]


def test_a_killed_client_sends_nothing_more(server: Redis) -> None:
    told: list[str] = []

    def before(number: int) -> None:
        if number == 2:
            raise Killed

    client = connect(server.url, told.append, before)
    client.set("a", 1)
    with client.pipeline() as both:
        both.incr("a")
        both.incr("a")
        both.execute()
    for _ in range(2):
        with pytest.raises(Killed):
            client.incr("a")
    assert server.client.get("a") == "3"
    assert told == ["SET a 1", "MULTI; INCRBY a 1; INCRBY a 1; EXEC"]


def test_the_journal_is_where_the_learner_does_not_write(server: Redis) -> None:
    journal = Journal(server.url)
    journal.note("starts", "worker-1", "one task")
    server.client.flushdb()
    assert server.journal() == [["starts", "worker-1", "one task"]]
    server.release("worker-1")
    journal.hold("worker-1")


WAITS = """
import time


def work(redis, worker, compute, wait_s):
    while True:
        time.sleep(0.01)  # here


def enqueue_task(redis, task):
    pass
"""


def test_a_member_that_stands_still_is_found_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Redis
) -> None:
    exercise = find("21")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{exercise.module}.py").write_text(WAITS, encoding="utf-8")
    with Learner(exercise, tmp_path) as learner, Crew(learner) as crew:
        (member,) = crew.start("worker-1")
        pid = member.learner.pid
        member.play("work", server.url, "worker-1")
        monkeypatch.setattr(crews, "WAIT_S", 0.5)
        monkeypatch.setattr(crews, "PATIENCE", 100)  # whatever else runs here
        with pytest.raises(Finding) as caught:
            crew.wait(lambda: False, member, LabkitError("nothing"))
    assert caught.value.code == "never-returns"
    assert caught.value.learner_lines[0].endswith("time.sleep(0.01)  # here")
    assert pid is not None and not psutil.pid_exists(pid)


def test_a_member_that_fails_ends_the_wait_with_its_finding(tmp_path: Path, server: Redis) -> None:
    exercise = find("21")
    (tmp_path / "work").mkdir()
    code = WAITS.replace("while True:\n        time.sleep(0.01)", "raise RuntimeError('mine')")
    (tmp_path / "work" / f"{exercise.module}.py").write_text(code, encoding="utf-8")
    with Learner(exercise, tmp_path) as learner, Crew(learner) as crew:
        (member,) = crew.start("worker-1")
        member.play("work", server.url, "worker-1")
        with pytest.raises(Finding) as caught:
            crew.wait(lambda: False, member, LabkitError("nothing"))
    assert caught.value.code == "raised" and "mine" in str(caught.value)


BAD = {
    "no function": ("21", "def work(", "def werk(", "missing"),
    "a number for a task": ("21", "    return task", "    return 5", "never-returns"),
    "a view of a dict": (
        "22",
        "    return [worker for worker, heard in redis.hgetall(WORKERS).items() if heard != DEAD]",
        "    return redis.hgetall(WORKERS).keys()",
        "wrong-type",
    ),
    "an object": ("24", "    return worker\n", "    return object()\n", "wrong-type"),
    "what was ready, spoiled": ("24", "both.lrem(hand_of(worker), 1, task)", "pass", "left-over"),
    "the end of the process": (
        "24",
        "    redis.lpush(",
        "    import os; os._exit(3)\n    redis.lpush(",
        "ended",
    ),
    "the end of the server": (
        "21",
        "    while redis.lmove",
        "    redis.shutdown(nosave=True)\n    while redis.lmove",
        "raised",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_whatever_a_file_does_with_redis_is_a_finding(what: str) -> None:
    require(find_binary(), "a Redis server")
    number, right, wrong, code = BAD[what]
    exercise = find(number)
    solution = solution_of(exercise)
    assert right in solution
    verdict = run(exercise, solution.replace(right, wrong), (SIMULATED,))
    assert (verdict.kind, verdict.code) == (Kind.FAIL, code)
