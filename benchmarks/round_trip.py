"""The round trip: one tiny task at a time, from submit to its result, again and again.

The median (p50) of each round is compared; the slowest of a hundred (p99) is shown beside it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial

from benchmarks.echo_chain import EchoChain
from benchmarks.figures import TIMES, Figure, Section, Target, ratios
from benchmarks.setup import LABKIT, POOL, VERSUS_POOL, Setup, alternate, cluster_pool, process_pool
from benchmarks.tiny import BODY, CHAIN
from labkit.core.errors import N_
from labkit.jobs import echo
from labkit.support.i18n import _
from labkit.support.percentiles import percentile

TITLE = N_("round trip of one tiny task")
TARGET = Target(1.6, at_most=True)

CALLS, QUICK_CALLS = 600, 150


def one_call(executor: Executor) -> float:
    """Run one task; return the seconds from before ``submit`` to after ``result``."""
    began = time.perf_counter()
    executor.submit(echo, 1).result()
    return time.perf_counter() - began


def milliseconds(call: Callable[[], float], count: int) -> list[float]:
    """Return how long each of ``count`` calls took, one after the other."""
    gc.collect()
    return [call() * 1e3 for _ in range(count)]


def measure(setup: Setup) -> Section:
    """Return p50 and p99 on labkit, on the process pool and on the bare echo chain."""
    count = setup.size(CALLS, QUICK_CALLS)
    with ExitStack() as stack:
        calls = {
            LABKIT: partial(one_call, stack.enter_context(cluster_pool(setup.workers))),
            POOL: partial(one_call, stack.enter_context(process_pool(setup.workers))),
            CHAIN: partial(stack.enter_context(EchoChain()).round_trip, BODY),
        }
        rounds = alternate(setup.rounds, *(partial(milliseconds, call, count) for call in calls.values()))
    figures: list[Figure] = []
    for share, target in ((50, TARGET), (99, None)):
        ours, pool, chain = ([percentile(sorted(times), share / 100) for times in of] for of in rounds)
        p = f"p{share}"
        figures += [
            Figure(f"{p}.labkit", f"{p}: {LABKIT}", ours, "ms"),
            Figure(f"{p}.pool", f"{p}: {POOL}", pool, "ms"),
            Figure(f"{p}.chain", f"{p}: {CHAIN}", chain, "ms"),
            Figure(f"{p}.ratio", f"{p}: {VERSUS_POOL}", ratios(ours, pool), TIMES, target),
            Figure(f"{p}.chain_ratio", f"{p}: {LABKIT} / {CHAIN}", ratios(ours, chain), TIMES),
        ]
    note = _("{calls} calls a round, one at a time; {workers} workers on each side; lower is better")
    return Section(figures, [note.format(calls=count, workers=setup.workers)], {"calls_per_round": count})
