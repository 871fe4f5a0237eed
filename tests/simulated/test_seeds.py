"""Hundreds of seeded runs, each with its own mix of faults, size and policy, keep every promise.

A failure names the seed, the virtual instant, the last events, and the command that shows the run again.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from labkit.core.broker.policies import POLICIES
from labkit.simulation import FAULTS, Parts, Run, mix, simulate
from tests.tools.mutants import DEMANDED, FURTHER
from tests.tools.regressions import NOT_IN_ALL, REGRESSIONS, Seed
from tests.tools.wrong_checkers import WRONG_CHECKERS

SEEDS = 2000 if os.environ.get("CI") == "true" else 500
CHUNK = 25

pytestmark = pytest.mark.no_cover


def run_of(seed: int) -> Run:
    """Return the run of a seed: its faults, size and policy follow from the seed, too."""
    random = Random(f"{seed} test")
    return simulate(
        seed,
        workers=random.choice((1, 2, 3, 5, 5, 5, 8)),
        tasks=random.choice((20, 60, 200, 200, 200)),
        faults=mix(seed),
        policy=random.choice(["least_busy"] * 4 + [name for name in POLICIES if name != "least_busy"]),
        thorough=True,
        wire=random.random() < 0.1,
    )


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run = run_of(seed)
        assert run.ok, run.report()


def kept_run(case: Seed, parts: Parts | None = None) -> Run:
    everything = [name for name in FAULTS if name not in NOT_IN_ALL]
    faults = everything if case.faults == "all" else case.faults.split(",")
    return simulate(case.seed, case.workers, case.tasks, faults, parts=parts)


@pytest.mark.parametrize("case", REGRESSIONS, ids=lambda case: f"{case.seed}-{case.why[-30:]}")
def test_no_seed_that_once_failed_fails_again(case: Seed) -> None:
    run = kept_run(case)
    assert run.ok, f"{case.why}\n{run.report()}"


@pytest.mark.parametrize(
    ("case", "wrong"), [(case, wrong) for case in REGRESSIONS for wrong in case.catches],
    ids=lambda value: value if isinstance(value, str) else str(value.seed),
)  # fmt: skip
def test_each_kept_seed_still_catches_what_it_is_kept_for(case: Seed, wrong: str) -> None:
    if wrong in WRONG_CHECKERS:
        with WRONG_CHECKERS[wrong]():
            assert not kept_run(case).ok
    else:
        assert not kept_run(case, (DEMANDED | FURTHER)[wrong].parts).ok


@pytest.mark.parametrize("fault", FAULTS)
def test_each_kind_of_fault_strikes_and_is_survived(fault: str) -> None:
    runs = [simulate(seed, faults=[fault]) for seed in range(6)]
    for run in runs:
        assert run.ok, run.report()
    calm = [simulate(seed, faults=[]).history for seed in range(6)]
    assert any(run.history != quiet for run, quiet in zip(runs, calm, strict=True)), (
        f"{fault} changes nothing"
    )
