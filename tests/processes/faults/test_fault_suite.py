"""The fault suite of ``python -m labkit faults``, case by case: each promise on live processes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from labkit.faults import suite, table
from labkit.faults.verdict import Verdict
from labkit.support.settings import Settings
from tests.tools.waiting import require

NEEDS_REDIS = [name for name, case in suite.CASES.items() if case.cluster.get("redis")]


@pytest.mark.slow
@pytest.mark.parametrize("name", suite.CASES)
def test_promise_of_each_fault_is_kept(name: str) -> None:
    if name in NEEDS_REDIS:
        from labkit.mirror.server import find_binary

        require(find_binary(), "a Redis server")
    result = suite.carry_out(suite.CASES[name], Settings.from_environment())
    told = table.measured(result)
    if result.verdict is Verdict.INCONCLUSIVE:
        pytest.skip(f"this machine was too slow to tell: {told}")
    assert result.verdict is Verdict.PASS, told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rules", "missed"),
    [
        ("freeze", {"dead_s": 6.0, "broker_gone_s": 12.0}, "given up after 6"),
        ("client-vanishes", {"client_gone_s": 7.0}, "7.* s after it was killed"),
    ],
)
def test_cluster_with_worse_rules_is_judged_by_the_same_bounds(
    name: str, rules: dict[str, float], missed: str
) -> None:
    """The suite has teeth: what takes too long fails."""
    case = replace(suite.CASES[name], cluster={**suite.CASES[name].cluster, "rules": rules})
    result = suite.carry_out(case, Settings.from_environment())
    told = table.measured(result)
    if result.verdict is Verdict.INCONCLUSIVE:
        pytest.skip(f"this machine was too slow to tell: {told}")
    assert result.verdict is Verdict.FAIL, told
    assert re.search(f"MISSED: {missed}", told), told
