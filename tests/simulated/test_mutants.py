"""The simulation notices: a core without one of its rules fails within 500 seeds, for the right reason."""

from __future__ import annotations

import pytest

from labkit.simulation import mix, simulate
from tests.tools.mutants import DEMANDED, FURTHER, Mutant

SEEDS = 500

pytestmark = pytest.mark.no_cover


def catch(mutant: Mutant) -> str:
    """Return the invariant that catches a mutant; an empty string if none does."""
    for seed in range(SEEDS):
        run = simulate(seed, mutant.workers, faults=mutant.faults or mix(seed), parts=mutant.parts)
        if not run.ok:
            return run.violations[0].invariant
    return ""


@pytest.mark.parametrize("rule", DEMANDED)
def test_a_core_without_this_rule_is_caught(rule: str) -> None:
    caught_by = catch(DEMANDED[rule])
    assert caught_by, f"{SEEDS} seeds did not notice that this rule is missing: {rule}"
    assert not DEMANDED[rule].caught_by or caught_by in DEMANDED[rule].caught_by


@pytest.mark.parametrize("rule", FURTHER)
def test_an_old_bug_or_a_broken_promise_is_caught(rule: str) -> None:
    caught_by = catch(FURTHER[rule])
    assert caught_by, f"{SEEDS} seeds did not notice that this rule is missing: {rule}"
    assert not FURTHER[rule].caught_by or caught_by in FURTHER[rule].caught_by
