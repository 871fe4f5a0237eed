"""Percentiles, windows and histograms."""

from __future__ import annotations

import random

import pytest

from labkit.gateway.figures import Histogram, Window


def test_a_window_forgets_what_is_old_and_holds_so_many() -> None:
    window = Window(span_s=10.0, most=3)
    for at in range(5):
        window.add(at, at * 10.0)
    assert window.percentiles(4.0, [0.0, 1.0]) == [20.0, 40.0]
    assert window.percentiles(13.5, [0.0, 1.0]) == [40.0, 40.0]
    assert window.percentiles(100.0, [0.5]) == [None]


def test_a_histogram_counts_each_value_once() -> None:
    histogram = Histogram((0.1, 1.0))
    values = [0.0, 0.1, 0.100001, 1.0, 5.0]
    random.Random(1).shuffle(values)
    for value in values:
        histogram.add(value)
    assert histogram.cumulative() == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert histogram.sum == pytest.approx(6.200001)
