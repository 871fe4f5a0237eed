"""A simulated run: repeatable from its seed, rich in rare events, readable, open to a learner's policy."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from labkit.core import history as h
from labkit.core.broker.policies import TaskView, WorkerView
from labkit.core.errors import InvalidInput, InvariantBroken
from labkit.core.history import History, encode_event
from labkit.simulation import FAULTS, Run, mix, simulate
from labkit.simulation.cost import microseconds_per_task
from labkit.simulation.process import Process
from labkit.simulation.timeline import LEGEND, excerpt, timeline
from tests.tools.mutants import DEMANDED

EVERYTHING = tuple(FAULTS)
FINGERPRINT = """
from labkit.core.history import encode_event
from labkit.simulation import FAULTS, simulate
import hashlib
lines = "\\n".join(encode_event(event) for event in simulate(11, faults=tuple(FAULTS)).history)
print(hashlib.sha256(lines.encode()).hexdigest())
"""


# --- deterministic ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_is_the_same_history(seed: int) -> None:
    one, two = (simulate(seed, faults=EVERYTHING) for _ in range(2))
    assert one.history == two.history
    assert one.outcomes == two.outcomes


def test_the_same_seed_is_the_same_history_in_a_process_with_other_hashes() -> None:
    def fingerprint(hash_seed: str) -> str:
        command = [sys.executable, "-c", FINGERPRINT]
        env = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout

    assert fingerprint("1") == fingerprint("2")


def test_two_seeds_are_two_histories() -> None:
    assert simulate(1).history != simulate(2).history


def test_the_origins_of_the_clocks_do_not_change_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def story(offset_s: float) -> list[tuple[str, str, int, str]]:
        def clock(process: Process) -> float:
            return process.loop.now + offset_s

        monkeypatch.setattr(Process, "clock", clock)
        monkeypatch.setattr(
            Process, "_offset_s", property(lambda _: offset_s, lambda *_: None), raising=False
        )
        # In this seed no rounding to a clock's precision changes the order of two events.
        run = simulate(0, faults=EVERYTHING)
        assert run.ok, run.report()
        return [(event.kind, event.task, event.attempt, event.worker) for event in run.history]

    assert story(0.0) == story(2.0**20) == story(-(2.0**20))


# --- what happens in it -------------------------------------------------------------------------------------


def late_results(run: Run) -> int:
    """Return how many results were taken after their attempt had been requeued."""
    requeued: set[tuple[str, int]] = set()
    late = 0
    for event in run.history:
        if event.kind == h.BROKER_STARTED:
            requeued.clear()
        elif event.kind == h.REQUEUED:
            requeued.add((event.task, event.attempt))
        elif event.kind == h.DONE:
            late += (event.task, event.attempt) in requeued
    return late


def test_rare_events_are_not_rare_in_simulated_runs() -> None:
    kinds: Counter[str] = Counter()
    details: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in range(20):
        run = simulate(
            seed, faults=EVERYTHING if seed % 2 else [name for name in EVERYTHING if name != "flood"]
        )
        assert run.ok, run.report()
        kinds.update(event.kind for event in run.history)
        details.update(str(event.detail.get("cause")) for event in run.history)
        outcomes.update(outcome.kind for outcome in run.outcomes.values())
        details["late result wins"] += late_results(run)
    assert set(kinds) >= h.TASK_KINDS | h.WORKER_KINDS | {h.FAULT, h.BROKER_STARTED}
    assert set(details) >= {"closed", "silent", "lost", "left", "hung", "returned", "asked", "client gone"}
    assert details["late result wins"]
    assert set(outcomes) >= {"done", "ERROR", "POISONED", "HUNG", "NO_WORKER", "DEADLINE", "cancelled"}


def test_each_task_of_a_client_that_stays_has_exactly_one_outcome() -> None:
    run = simulate(8, tasks=150, faults=[name for name in EVERYTHING if name != "client_vanish"])
    assert run.ok, run.report()
    assert len(run.outcomes) == 150


def test_a_simulated_history_has_all_that_the_charts_need() -> None:
    run = simulate(7)
    history = History.from_lines(encode_event(event) for event in run.history)
    assert history.check(ended=True) == []
    assert sum(1 for row in history.ledger() if row.outcome == "done") == 200
    assert any(recovery.recovery_s is not None for recovery in history.recoveries())


def test_clients_with_small_quotas_are_refused_at_times_and_lose_nothing() -> None:
    run = simulate(3, faults=["flood"])
    assert run.ok, run.report()
    assert run.counters["refused_tasks"] > 0
    assert len(run.outcomes) == 200


def test_an_unknown_fault_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'meteor' is unknown; known: .*partition"):
        simulate(1, faults=["kill", "meteor"])


def test_a_mix_of_faults_follows_from_its_seed() -> None:
    assert mix(5) == mix(5)
    assert len({mix(seed) for seed in range(50)}) > 25


# --- a learner's policy -------------------------------------------------------------------------------------


def by_name(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Prefer the worker with the lowest name."""
    return min(workers, key=lambda worker: worker.id)


def patient(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Wait for a worker with nothing to do."""
    return next((worker for worker in workers if not worker.in_flight), None)


def broken(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Fail for every third task, as a first attempt may."""
    return workers[5 if task.id[-1] % 3 == 0 else 0]


@pytest.mark.parametrize("policy", [by_name, patient, broken])
def test_a_learners_policy_runs_under_all_faults(policy: object) -> None:
    for seed in range(3):
        run = simulate(seed, faults=EVERYTHING, policy=policy)  # type: ignore[arg-type]
        assert run.ok, run.report()
        assert run.policy == policy.__name__  # type: ignore[attr-defined]


def test_least_busy_replaces_a_failing_policy_and_the_error_is_recorded() -> None:
    run = simulate(1, faults=[], policy=broken)
    errors = [event for event in run.history if event.kind == h.POLICY_ERROR]
    assert errors and "IndexError" in errors[0].detail["error"]
    assert {outcome.kind for outcome in run.outcomes.values()} <= {"done", "NO_WORKER", "DEADLINE"}


# --- for people ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed() -> Run:
    return next(run for seed in range(9) if not (run := simulate(seed, parts=DEMANDED["requeue"].parts)).ok)


def test_a_report_has_seed_instant_promise_last_events_and_command(failed: Run) -> None:
    report = failed.report()
    assert f"seed {failed.seed}" in report
    assert f"at {failed.violations[0].at:.4f} s: {failed.violations[0].invariant}" in report
    assert f"python -m labkit simulate --seed {failed.seed} --workers 5 --tasks 200" in report
    assert failed.history[-1].kind in report
    with pytest.raises(InvariantBroken, match="a promise was broken"):
        failed.require_ok()
    assert simulate(1).require_ok().ok


@pytest.mark.parametrize("width", [10, 60, 100, 180])
def test_a_timeline_fits_its_width_and_shows_every_worker(width: int) -> None:
    lines = timeline(simulate(7, faults=EVERYTHING), width)
    assert max(map(len, lines)) <= max(width, 40)
    for name in ("broker", *(f"worker-{i}" for i in range(1, 6))):
        assert any(line.startswith(name) for line in lines)


def test_a_timeline_shows_faults_losses_and_the_end_of_the_run(failed: Run) -> None:
    text = "\n".join(timeline(simulate(7), 120))
    assert "is killed" in text and "is lost (closed); requeued:" in text
    assert "every promise was kept" in text
    assert "BROKEN at" in "\n".join(timeline(failed, 120))


@pytest.mark.parametrize("width", [40, 80, 100])
def test_an_excerpt_has_its_whole_legend_and_the_ends_of_what_happened(width: int) -> None:
    whole, part = (show(simulate(7, faults=EVERYTHING), width) for show in (timeline, excerpt))
    legend = " ".join(" ".join(part).split())
    assert " ".join(LEGEND.split()) in legend
    assert max(map(len, part)) <= width
    begun, ended = (line for line in (whole[whole.index("", 3) + 1], part[-1]))
    assert begun in part and ended in whole
    assert len(part) < len(whole) and not any("every promise was kept" in line for line in part)


def test_a_timeline_can_be_in_another_language() -> None:
    lines = timeline(simulate(7), 120, lambda text: "¡" + text)
    assert "¡every promise was kept" in lines


# --- the benchmark's measurement ----------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "queued"), [(3, 100), (50, 1000)])
def test_the_cost_of_a_task_is_measured_at_the_given_queue_length(workers: int, queued: int) -> None:
    cost = microseconds_per_task(workers, queued, tasks=500)
    assert (cost.workers, cost.queued) == (workers, queued)
    assert cost.tasks >= 500 and cost.us_per_task > 0
