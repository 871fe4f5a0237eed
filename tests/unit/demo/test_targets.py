"""The demo's targets detect each kind of bad run; its progress and story follow the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit.core.history import Event, History
from labkit.demo.progress import Progress, spark
from labkit.demo.run import VICTIM, Ran
from labkit.demo.story import GOOD, HARM, Line, Story
from labkit.demo.targets import chain_in_words, measure, tolerance
from tests.tools.demo_report import assert_report_is_right
from tests.tools.made_histories import CLOCK, demo, run, task_id

TASKS = 180


def ran(events: list[Event], **changes: Any) -> Ran:
    names = {task_id(n): f"picture-{n}" for n in range(TASKS)}
    made: dict[str, Any] = {
        "history": History(events),
        "recording": b"",
        "tasks": {task: number for number, task in enumerate(names)},
        "names": names,
        "results": dict.fromkeys(names, b""),
        "deliveries": dict.fromkeys(names, 1),
        "dropped": 0,
        "submitted_at": 0.5,
        "computing": task_id(1),
    }
    return Ran(**{**made, **changes})


def missed(run: Ran, different: tuple[str, ...] = ()) -> set[str]:
    return {target.id for target in measure(run, 3, different) if not target.met}


def test_a_good_run_meets_every_target() -> None:
    targets = measure(ran(demo()), 3, [])
    assert [target.id for target in targets if not target.met] == []
    said = {target.id: (target.title, target.measured) for target in targets}
    assert said["workers_active"] == ("3/3 workers active", "3/3; after the kill 2/3; then 3/3")
    assert said["equal_shares"][0] == "33 % each before the kill (27 % to 40 % of 59)"
    assert said["same_pixels"][1] == "180 of 180 pictures equal"
    assert said["nothing_lost"][1] == "180 of 180 done, 1 taken over"


def without(task: str, kind: str) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [event for event in events if (event.task, event.kind) != (task, kind)]


def twice(events: list[Event]) -> list[Event]:
    done = next(event for event in events if event.kind == "done")
    return sorted([*events, done._replace(at=done.at + 0.01)], key=lambda event: event.at)


def to_worker_1(events: list[Event]) -> list[Event]:
    """Let the policy forget worker-3."""
    return [event._replace(worker="worker-1") if event.worker == "worker-3" else event for event in events]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (without(task_id(7), "done")(demo()), {"nothing_lost", "nothing_twice", "others_suffice"}),
        (twice(demo()), {"nothing_lost", "nothing_twice"}),
        (run(kill_at=1.5, back_after=None), {"workers_active", "others_suffice"}),
        (run(), {"recovery", "others_suffice"}),
    ],
    ids=["a result is missing", "a result came twice", "the worker never came back", "no worker was killed"],
)
def test_bad_run_misses_exactly_the_broken_targets(events: list[Event], expected: set[str]) -> None:
    assert missed(ran(events)) == expected


def test_a_policy_that_forgets_a_worker_misses_equal_shares() -> None:
    assert "equal_shares" in missed(ran(to_worker_1(demo())))


def favouring_worker_3(compute_s: float) -> list[Event]:
    """Of five tasks of worker-1 or worker-2, worker-3 does three as well, in ``compute_s`` each."""
    taken = {event.task for event in demo() if event.worker != "worker-3" and hash_of(event.task) % 5 < 3}
    events = []
    for event in demo():
        worker = "worker-3" if event.task in taken and event.task else event.worker
        detail = dict(event.detail)
        if event.kind == "done":
            detail["compute_s"] = compute_s if worker == "worker-3" else 0.06
        events.append(event._replace(worker=worker, detail=detail))
    return events


def hash_of(task: str) -> int:
    return int(task, 16) if task else 0


def test_share_that_matches_the_speed_is_fair_and_speeds_are_shown() -> None:
    targets = {target.id: target for target in measure(ran(favouring_worker_3(0.015)), 3, [])}
    shares = targets["equal_shares"]
    assert max(shares.numbers["shares"].values()) > shares.numbers["highest"]
    assert shares.met and "of its speed" in shares.measured


def test_share_that_does_not_match_the_speed_is_missed() -> None:
    assert "equal_shares" in missed(ran(favouring_worker_3(0.06)))


def test_a_slow_recovery_is_missed() -> None:
    slow = run(tasks=4000, kill_at=1.5, detected_after=31.0, back_after=33.0)
    assert "recovery" in missed(ran(slow))


def test_a_second_delivery_or_another_pixel_is_missed() -> None:
    good = ran(demo())
    assert missed(ran(demo(), deliveries={**good.deliveries, task_id(3): 2})) == {"nothing_twice"}
    assert missed(good, ("picture-3",)) == {"same_pixels"}


def test_links_of_the_chain_are_shown_with_their_seconds() -> None:
    chain = ran(demo()).history.recoveries()[0]
    links = dict(chain_in_words(chain))
    assert links["noticed by the broker"] == "20 ms"
    assert set(links) == {
        "noticed by the broker",
        "its tasks in the queue again",
        "first of them done by another",
        "throughput back at 95 %",
    }


# --- progress and story -------------------------------------------------------------------------------------


def test_progress_and_story_follow_the_run_as_it_is_written() -> None:
    events = demo()
    names = {task_id(n): f"picture-{n}" for n in range(TASKS)}
    history = History()
    progress = Progress(names, ["worker-1", VICTIM, "worker-3"])
    lines: list[Line] = []
    story = Story(lines.append, names, VICTIM)
    states: list[str] = []
    for event in events:
        history.extend([event])
        progress.read(history)
        story.follow(history)
        victim = progress.workers[VICTIM]
        states += [f"{victim.state}/{victim.fault}"] if f"{victim.state}/{victim.fault}" not in states else []
        assert progress.waiting >= 0 or progress.done == 0
    assert states == ["absent/", "ready/", "ready/kill", "lost/kill", "lost/start"]
    assert progress.workers[VICTIM].state == "ready" and progress.workers[VICTIM].fault == ""
    assert progress.done == TASKS and not progress.failed and len(progress.ended) == TASKS
    assert all(not worker.held and not worker.computing for worker in progress.workers.values())
    assert [(fault, worker) for _, fault, worker in progress.faults()] == [
        ("kill", VICTIM),
        ("start", VICTIM),
    ]
    (outage,) = progress.outages()
    assert outage == pytest.approx((1.52, 2.4), abs=0.001)
    assert [line.mood for line in lines] == ["plain", "plain", GOOD, GOOD]
    assert lines[0].text == "the broker notices 20 ms after the kill (its connection closed)"
    assert lines[1].text == "1 task that worker-2 held is first in the queue again"
    assert lines[2].text.endswith("after the kill") and "in its place" in lines[2].text


def test_demos_actions_are_reported_with_their_reason() -> None:
    lines: list[Line] = []
    progress = Progress({task_id(1): "coffee"}, [VICTIM])
    story = Story(lines.append, {task_id(1): "coffee"}, VICTIM)
    story.submitted()
    story.killing(progress, task_id(1))
    story.restarting(progress)
    assert [line.text for line in lines] == [
        "1 task is submitted",
        "0 of 1 are done. kill -9 worker-2, which is computing coffee",
        "0 of 1 are done, by the others alone. worker-2 is started again",
    ]
    assert lines[1].mood == HARM


def test_failed_task_is_counted() -> None:
    progress = Progress({task_id(1): "coffee"}, ["worker-1"])
    events = [
        Event(CLOCK, "submitted", task_id(1)),
        Event(CLOCK, "dispatched", task_id(1), 1, "worker-1"),
        Event(CLOCK, "failed", task_id(1), 1, "worker-1", {"code": "ERROR", "error": "ValueError: x"}),
        Event(CLOCK, "submitted", task_id(2)),
        Event(CLOCK, "done", task_id(2), 1, "worker-1"),
    ]
    progress.read(History(events))
    assert (progress.failed, progress.done, progress.ended) == (1, 0, {task_id(1)})


def test_results_over_time_become_columns_and_bars() -> None:
    tasks = {task_id(n): "coffee" for n in range(6)}
    progress = Progress(tasks, ["worker-1"])
    events = [Event(CLOCK, "submitted", task) for task in tasks]
    at = (0.1, 0.2, 0.9, 1.0, 5.0, 5.5)
    events += [Event(CLOCK + t, "done", task, 1, "worker-1") for t, task in zip(at, tasks, strict=True)]
    progress.read(History(events[:9]))
    assert progress.recent("worker-1", 2, 0.5) == [2, 1]
    assert progress.per_s() == progress.per_s("worker-1") == 3.0
    progress.read(History(events))
    assert progress.per_s() == 2.0 and progress.per_s("worker-2") == 0.0
    column_s, counts = progress.results(70)
    assert column_s == pytest.approx(0.1) and len(counts) == 55 and sum(counts) == 5
    column_s, counts = progress.results(11)
    assert column_s == pytest.approx(0.5) and counts[:2] == [2, 1] and len(counts) == 11
    assert spark([0, 1, 4, 8], 8) == " ▁▄█"
    assert spark([0, 0], 0) == "  "


@pytest.mark.parametrize("part", [0.3, 0.45])
def test_preference_within_half_of_a_share_is_missed(part: float) -> None:
    """A policy that hands worker-1 a part of worker-3's tasks, on equal workers, is not fair."""
    before = [e.task for e in demo() if e.kind == "done" and e.worker == "worker-3" and e.at < CLOCK + 1.5]
    taken = set(before[: round(part * len(before))])
    moved = [e._replace(worker="worker-1") if e.task in taken else e for e in demo()]
    (target,) = [t for t in measure(ran(moved), 3, []) if t.id == "equal_shares"]
    shares = target.numbers["shares"].values()
    assert min(shares) >= 1 / 6 and max(shares) <= 1 / 2, "17 % to 50 % would accept it"
    assert not target.met


@pytest.mark.parametrize(("tasks", "expected"), [(12, (13, 53)), (41, (25, 42)), (180, (29, 38))])
def test_tolerance_narrows_with_the_number_of_tasks(tasks: int, expected: tuple[int, int]) -> None:
    fair = tasks / 3
    low, high = (100 * (fair + side * tolerance(fair)) / tasks for side in (-1, 1))
    assert (round(low), round(high)) == pytest.approx(expected, abs=1)


# --- what a test demands of a report ------------------------------------------------------------------------


def report_on(finished: Ran, **changed: dict[str, Any]) -> dict[str, Any]:
    """Return a demo's report on a run, as ``--json`` prints it; ``changed``: other values of some targets."""
    targets = [
        {"id": target.id, "passed": target.met, **target.numbers, **changed.get(target.id, {})}
        for target in measure(finished, 3, [])
    ]
    passed = all(target["passed"] for target in targets)
    return {"passed": passed, "targets": targets, "batch": {"tasks": TASKS}}


def test_report_of_a_good_run_is_right_and_misses_nothing() -> None:
    good = ran(demo())
    assert assert_report_is_right(report_on(good), good.history) == set()


def test_report_that_misses_the_shares_of_a_starved_worker_is_right() -> None:
    """Worker-3 always has a task, but no processor: its few results are the machine's doing."""
    starved = ran(run(kill_at=1.5, back_after=0.9, stalled={"worker-3": 0.4}))
    assert missed(starved) == {"equal_shares"}
    assert assert_report_is_right(report_on(starved), starved.history) == {"equal_shares"}


def test_policy_that_passes_a_free_worker_over_is_no_matter_of_speed() -> None:
    moved = [e._replace(worker="worker-1") if e.task and e.worker == "worker-3" else e for e in demo()]
    unfair = ran(moved)
    with pytest.raises(AssertionError, match="while a worker had none"):
        assert_report_is_right(report_on(unfair), unfair.history)


@pytest.mark.parametrize(
    "changed",
    [
        {"recovery": {"passed": False}},
        {"workers_active": {"passed": False}},
        {"workers_active": {"at_end": 2}},
        {"equal_shares": {"passed": False}},
        {"equal_shares": {"results": {"worker-1": 20, "worker-2": 20, "worker-3": 20}}},
        {"nothing_lost": {"passed": False}},
    ],
)
def test_verdict_that_does_not_follow_from_the_history_is_wrong(changed: dict[str, dict[str, Any]]) -> None:
    good = ran(demo())
    with pytest.raises(AssertionError):
        assert_report_is_right(report_on(good, **changed), good.history)
