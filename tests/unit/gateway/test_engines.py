"""The engines of the gateway's own machine."""

from __future__ import annotations

import sys

import psutil
import pytest

from labkit.gateway.engines import Slots

MIB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep what they like")
def test_a_batch_leaves_no_freed_memory_with_the_process() -> None:
    process = psutil.Process()
    with Slots().taken():
        small = 100_000  # larger blocks are returned one by one
        pictures = [b"\1" * small for _ in range(60 * MIB // small)]
        last = b"\1" * small  # above them on the heap: what lies below is not returned by itself
        full = process.memory_info().rss
        del pictures
    assert process.memory_info().rss < full - 40 * MIB
    del last
