"""The fault suite of ``python -m labkit faults``, case by case: each promise on live processes."""

from __future__ import annotations

import pytest

from labkit.faults import suite, table
from labkit.faults.verdict import Verdict
from labkit.settings import Settings
from tests.support import require

NEEDS_REDIS = [name for name, case in suite.CASES.items() if case.cluster.get("redis")]


@pytest.mark.slow
@pytest.mark.parametrize("name", suite.CASES)
def test_what_is_promised_of_this_fault_is_kept(name: str) -> None:
    if name in NEEDS_REDIS:
        from labkit.cluster.redis_server import find_binary

        require(find_binary(), "a Redis server")
    result = suite.carry_out(suite.CASES[name], Settings.from_environment())
    told = table.measured(result)
    if result.verdict is Verdict.INCONCLUSIVE:
        pytest.skip(f"this machine was too slow to tell: {told}")
    assert result.verdict is Verdict.PASS, told
