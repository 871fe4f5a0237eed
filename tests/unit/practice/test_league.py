"""The league: the same table each time, and what a policy may not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.core.broker.policies import POLICIES
from labkit.core.errors import InvalidInput, LabkitError
from labkit.practice import league
from labkit.practice.league import Standing, entries, play, why
from labkit.practice.verdict import Finding
from labkit.support.i18n import set_language

LEAST = "    return min(workers, key=lambda worker: (worker.in_flight / worker.slots, worker.id))\n"


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    set_language("en")
    yield
    set_language(None)


def policy(folder: Path, body: str, head: str = "") -> Path:
    file = folder / "policy.py"
    file.write_text(f"{head}\ndef choose(task, workers, now):\n{body}")
    return file


def of_file(file: Path, rounds: int = 1) -> Standing:
    """Return the standing of a file that plays alone."""
    (standing,) = play(entries([file])[-1:], rounds)
    return standing


def test_the_same_seeds_give_the_same_table_in_any_order() -> None:
    first = play(entries([]), 2)
    assert {one.name for one in first} == set(POLICIES)
    assert play(list(reversed(entries([]))), 2) == first
    assert [one.violations for one in first] == [0] * len(first)
    assert first == sorted(first, key=lambda one: (round(one.makespan_s, 3), round(one.waiting_p95_s, 3)))


def test_a_learners_policy_does_as_the_same_policy_of_labkit(tmp_path: Path) -> None:
    mine = of_file(policy(tmp_path, LEAST), rounds=2)
    assert mine.name == f"{tmp_path.name}/policy" and mine.failure is None
    assert mine == of_file(policy(tmp_path, LEAST), rounds=2)
    assert mine.makespan_s > 0 and mine.violations == 0


FOUL = {
    "crash": ("    return workers[99]\n", "raised", "IndexError"),
    "never returns": ("    while True: pass\n", "never-returns", "choose"),
    "slow": ("    __import__('time').sleep(0.06)\n" + LEAST, "too-slow", "2 s"),
    "a worker of its own": (
        "    import copy\n    workers.append(copy.copy(workers[0]))\n    return workers[-1]\n",
        "not-a-worker",
        "SeenWorker",
    ),
    "an id": ("    return workers[0].id\n", "not-a-worker", "str"),
    "changes an argument": ("    workers[0].in_flight = 0\n", "raised", "FrozenInstanceError"),
    "leaves": ("    __import__('os')._exit(0)\n", "ended", "exit code 0"),
}


@pytest.mark.parametrize("name", FOUL)
def test_a_foul_is_out_with_its_reason(tmp_path: Path, name: str) -> None:
    body, code, words = FOUL[name]
    failure = of_file(policy(tmp_path, body)).failure
    assert isinstance(failure, Finding) and failure.code == code
    assert words in str(failure)


def test_what_a_policy_forces_upon_its_copies_changes_nothing(tmp_path: Path) -> None:
    fair = of_file(policy(tmp_path, LEAST))
    body = (
        "    chosen = min(workers, key=lambda worker: (worker.in_flight / worker.slots, worker.id))\n"
        "    for worker in workers:\n"
        "        object.__setattr__(worker, 'id', 'worker-1')\n"
        "    workers.clear()\n"
        "    return chosen\n"
    )
    assert of_file(policy(tmp_path, body)) == fair


def test_a_policy_learns_nothing_from_ids_and_earlier_rounds(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    body = (
        f"    calls.append(task.id)\n    open({str(seen)!r}, 'a').write(f'{{len(calls)}} {{task.id}}\\n')\n"
    )
    of_file(policy(tmp_path, body + LEAST, "calls = []"), rounds=2)
    lines = seen.read_text().splitlines()
    assert lines.count("1 b'task-1'") == 2, "each round begins anew"
    assert all("b'task-" in line for line in lines)


def test_a_policy_that_always_waits_breaks_promises_and_is_last(tmp_path: Path) -> None:
    standings = play([*entries([])[:1], *entries([policy(tmp_path, "    return None\n")])[-1:]], 1)
    assert standings[-1].violations > 0 and standings[-1].makespan_s == 0
    assert standings[0].violations == 0


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing.py"):
        entries([tmp_path / "nothing.py"])


def standing(name: str, makespan_s: float, wait_s: float = 1.0, wasted_s: float = 1.0) -> Standing:
    return Standing(name, makespan_s, wait_s, 0.5, wasted_s, 0)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (standing("a", 1.0), standing("b", 1.1, wait_s=1.5), "a wins: fewer tasks wait long"),
        (standing("a", 1.0), standing("b", 1.1, wasted_s=1.5), "a wins: less is computed twice"),
        (standing("a", 1.0), standing("b", 1.1), "a wins by its makespan alone (1.00 s, b 1.10 s)"),
    ],
)
def test_one_line_tells_why_the_winner_wins(first: Standing, second: Standing, words: str) -> None:
    reason = why([first, second])
    assert reason is not None and words in reason[0].format(**reason[1])


def test_nothing_is_said_of_a_winner_without_rivals() -> None:
    out = Standing("b", 0, 0, 0, 0, 0, LabkitError("it fell"))
    assert why([standing("a", 1.0), out]) is None
    assert out.as_json()["failure"] == "it fell"
    assert league.ROUNDS == 12
