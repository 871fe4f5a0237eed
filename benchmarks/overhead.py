"""What the observers cost: tiny tasks on a whole cluster, against one without history, mirror and supervisor.

Safety itself cannot be switched off. Its cost shows in ``tiny`` (against Python's own pool) and in
``scheduler``. Only the observers can be removed.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks.bare import bare_pool
from benchmarks.figures import TIMES, Figure, Section, Target, rates, ratios
from benchmarks.setup import LABKIT, Setup, alternate, cluster_pool, timed
from benchmarks.tiny import QUICK_TASKS, TASKS, TASKS_PER_S, by_map
from labkit.core.errors import N_
from labkit.support.i18n import _

TITLE = N_("what history, mirror and supervisor cost")
TARGET = Target(0.85)
BARE = N_("without them")
BATCHES = 4
"""Batches on each side a round: they are short, and the difference is small beside their spread."""


def measure(setup: Setup) -> Section:
    """Return tiny tasks a second with and without the observers."""
    count = setup.size(TASKS, QUICK_TASKS)
    with ExitStack() as stack:
        whole = stack.enter_context(cluster_pool(setup.workers))
        bare = stack.enter_context(bare_pool(setup.workers))
        taken = alternate(
            setup.rounds * BATCHES,
            *(partial(timed, partial(by_map, engine, count)) for engine in (whole, bare)),
        )
    ours, without = (rates(count, seconds) for seconds in taken)
    figures = [
        Figure("labkit", LABKIT, ours, TASKS_PER_S),
        Figure("bare", _(BARE), without, TASKS_PER_S),
        Figure("ratio", f"{LABKIT} / {_(BARE)}", ratios(ours, without), TIMES, TARGET),
    ]
    note = _("{tasks} tasks a batch, one by one; {workers} workers on each side")
    return Section(figures, [note.format(tasks=count, workers=setup.workers)], {"tasks_per_batch": count})
