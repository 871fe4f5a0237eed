"""Tiny tasks a second: what scheduling one task costs, because the task itself does nothing.

They are submitted in two ways, both without chunks: ``list(executor.map(echo, ...))``, and a future for each
(submit all, then take all results).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial

from benchmarks.echo_chain import EchoChain
from benchmarks.figures import TIMES, Figure, Section, Target, rates, ratios
from benchmarks.setup import LABKIT, POOL, VERSUS_POOL, Setup, alternate, cluster_pool, process_pool, timed
from labkit.core.errors import N_
from labkit.jobs import echo
from labkit.support.i18n import _

TITLE = N_("tiny tasks, each scheduled on its own")
TARGET = Target(3.0, goal=10.0)

TASKS, QUICK_TASKS = 8000, 800
BODY = b"x" * 64
"""About the size of a tiny task on the wire."""
CHAIN = "pyzmq ROUTER/ROUTER"
TASKS_PER_S = N_("tasks/s")


def by_map(executor: Executor, count: int) -> None:
    """Run ``count`` tasks with one call of ``map``."""
    results = list(executor.map(echo, range(count), chunksize=1))
    assert results == list(range(count))


def by_submit(executor: Executor, count: int) -> None:
    """Run ``count`` tasks with a future for each."""
    futures = [executor.submit(echo, number) for number in range(count)]
    assert [future.result() for future in futures] == list(range(count))


WAYS: dict[str, Callable[[Executor, int], None]] = {"map": by_map, "submit": by_submit}


def measure(setup: Setup) -> Section:
    """Return tasks a second in both ways, on labkit and the process pool, and of the bare echo chain."""
    count = setup.size(TASKS, QUICK_TASKS)
    with ExitStack() as stack:
        ours = stack.enter_context(cluster_pool(setup.workers))
        pool = stack.enter_context(process_pool(setup.workers))
        chain = stack.enter_context(EchoChain())
        batches = [partial(way, engine, count) for way in WAYS.values() for engine in (ours, pool)]
        taken = alternate(
            setup.rounds,
            *(partial(timed, batch) for batch in [*batches, partial(chain.flood, BODY, count)]),
        )
    per_s = [rates(count, seconds) for seconds in taken]
    figures: list[Figure] = []
    for number, way in enumerate(WAYS):
        figures += _compared(way, per_s[2 * number], per_s[2 * number + 1])
    figures.append(Figure("chain", CHAIN, per_s[-1], TASKS_PER_S))
    figures.append(Figure("map.chain_ratio", f"map: {LABKIT} / {CHAIN}", ratios(per_s[0], per_s[-1]), TIMES))
    note = _("{tasks} tasks a batch; {workers} workers on each side, one behind the bare pyzmq chain")
    return Section(
        figures,
        [note.format(tasks=count, workers=setup.workers)],
        {"tasks_per_batch": count},
    )


def _compared(way: str, ours: list[float], pool: list[float]) -> Iterator[Figure]:
    yield Figure(f"{way}.labkit", f"{way}: {LABKIT}", ours, TASKS_PER_S)
    yield Figure(f"{way}.pool", f"{way}: {POOL}", pool, TASKS_PER_S)
    yield Figure(f"{way}.ratio", f"{way}: {VERSUS_POOL}", ratios(ours, pool), TIMES, TARGET)
