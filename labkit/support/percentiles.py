"""Percentiles of what was measured."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ascending values that at least ``share`` (0 to 1) of them do not exceed.

    It is one of the values (nearest rank), never a number between two of them. Raises ValueError without
    values.
    """
    if not ordered:
        raise ValueError("a percentile needs values")
    rank = -(-len(ordered) * share // 1)
    return ordered[min(len(ordered), max(1, int(rank))) - 1]
