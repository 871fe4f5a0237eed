"""Timing: every run is kept, rounds are fair, a recording distinguishes threads."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import pytest

from labkit.support.timing import (
    Recording,
    Span,
    Timing,
    cores,
    doublings,
    in_threads,
    measured,
    measured_over,
    without_result,
)

CALLS, PAGES_OF_A_CALL = 20, 920
"""`FAULTS` makes so many calls; each has a copy and a result of 460 pages of 4 KiB."""
FAULTS = f"""
import resource, sys
import cv2, numpy as np
from labkit.imaging.filters import parse_steps
from labkit.jobs import process_image
from labkit.support.timing import in_threads, measured, without_result

cv2.setNumThreads(1)
blur = without_result(process_image)
images, steps = [np.zeros((800, 800, 3), np.uint8)] * {CALLS}, [parse_steps(["blur"])] * {CALLS}
faults = []

def run():
    threads = int(sys.argv[1])
    in_threads(threads, blur, images, steps) if threads else list(map(blur, images, steps))
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

measured(run, runs=1, warm_up=2)
print(faults[-1] - faults[-2])
"""
"""Prints how many pages the last run touches for the first time; argument: how many threads, 0 for none."""


def test_the_median_is_the_result_and_the_others_are_its_spread() -> None:
    timing = Timing((0.3, 0.1, 5.0))
    assert (timing.median, timing.least, timing.most) == (0.3, 0.1, 5.0)
    assert str(timing) == "0.30 s (0.10–5.00, 3×)"


def test_a_single_run_has_no_spread() -> None:
    assert str(Timing((0.3,))) == "0.30 s (1×)"


def test_warm_up_runs_do_not_count() -> None:
    calls: list[int] = []
    timing = measured(lambda: calls.append(1), runs=3, warm_up=2)
    assert len(calls) == 5 and len(timing.times) == 3
    assert all(time >= 0 for time in timing.times)


def test_each_round_calls_every_value_once_and_every_other_goes_backwards() -> None:
    calls: list[int] = []
    times = measured_over([1, 2, 4], calls.append, runs=2, warm_up=1)
    assert calls == [1, 2, 4, 4, 2, 1, 1, 2, 4]
    assert list(times) == [1, 2, 4] and all(len(timing.times) == 2 for timing in times.values())


def test_an_exception_of_a_timed_call_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        measured_over([0], lambda n: 1 / n)


def test_a_function_without_result_does_the_same_and_returns_none() -> None:
    calls: list[int] = []

    def note(number: int) -> int:
        """Note it."""
        calls.append(number)
        return number

    assert in_threads(1, without_result(note), [1, 2]) == [None, None]
    assert calls == [1, 2] and without_result(note).__doc__ == note.__doc__


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory as they like")
@pytest.mark.parametrize("threads", [0, 2])
def test_timed_code_touches_no_fresh_memory_with_any_thread_count(threads: int) -> None:
    """In a process of its own, whose allocator has seen nothing large before."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, str(threads)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # A thread may come upon an arena that is new to it: 460 or 920 pages, once. Without the rule: 18,421.
    assert int(done.stdout) < CALLS * PAGES_OF_A_CALL / 2


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2]), (8, [1, 2, 4, 8]), (31, [1, 2, 4, 8, 16])]
)
def test_doublings_never_go_beyond_the_limit(limit: int, expected: list[int]) -> None:
    assert doublings(limit) == expected


def test_threads_give_results_in_the_order_of_the_input() -> None:
    assert in_threads(4, pow, [1, 2, 3], [2, 2, 2]) == [1, 4, 9]


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1


# --- recordings ---------------------------------------------------------------------------------------------


def test_overlapping_calls_are_counted_and_have_different_threads() -> None:
    together = threading.Barrier(3, timeout=10)
    recording = Recording()

    def wait(_name: str) -> int:
        return together.wait()

    in_threads(3, recording.of(wait), ["a", "b", "c"])
    assert recording.most_at_once == 3
    assert {span.who for span in recording.spans} == {"thread-1", "thread-2", "thread-3"}
    assert {span.what for span in recording.spans} == {"a", "b", "c"}


def test_sequential_calls_count_as_one_at_once() -> None:
    recording = Recording()
    noted = recording.of(str, "str")
    noted(1), noted(2)
    assert recording.most_at_once == 1
    assert [(span.who, span.what) for span in recording.spans] == [("main", "str")] * 2
    assert recording.duration_s == recording.spans[1].end - recording.spans[0].begin


def test_an_address_is_recorded_by_its_last_part() -> None:
    recording = Recording()
    recording.of(len)("http://127.0.0.1:1/cat")
    assert recording.spans[0].what == "cat"


def test_a_failing_call_is_recorded_and_raises() -> None:
    recording = Recording()
    with pytest.raises(ValueError, match="invalid literal"):
        recording.of(int)("x")
    assert [span.what for span in recording.spans] == ["x"]


def test_a_span_that_begins_where_another_ends_does_not_overlap_it() -> None:
    recording = Recording()
    recording.spans += [Span("a", "", 0.0, 1.0), Span("b", "", 1.0, 2.0)]
    assert recording.most_at_once == 1


def test_an_empty_recording_lasts_no_time() -> None:
    assert (Recording().duration_s, Recording().most_at_once) == (0.0, 0)
