"""Percentiles are values that were measured."""

from __future__ import annotations

import pytest

from labkit.support.percentiles import percentile


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0), (0.501, 51.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value


def test_few_values_have_percentiles_and_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs values"):
        percentile([], 0.5)
    assert percentile([3.0], 0.01) == percentile([3.0], 0.99) == 3.0
