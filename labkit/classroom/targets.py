"""Measures the day's targets: the demo's run on fewer pictures, and the demo's table of targets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.charts import Table
from labkit.charts.draw_recovery import link_names
from labkit.core.history import History
from labkit.demo import batch, reference
from labkit.demo.run import VICTIM, Run
from labkit.demo.story import recovery_of
from labkit.demo.targets import Target, chain_in_words, measure
from labkit.demo.view import View
from labkit.imaging.photos import bundled
from labkit.support.i18n import _

if TYPE_CHECKING:
    from labkit.cluster import Cluster

PICTURES = 24
RUN_S = 3.0


class Measured:
    """The measurements of one run; a notebook shows them as a table."""

    def __init__(self, targets: list[Target], history: History) -> None:
        self.targets = targets
        self.history = history

    @property
    def met(self) -> dict[str, bool]:
        """Whether each target was met, by its id."""
        return {target.id: target.met for target in self.targets}

    def table(self) -> Table:
        """Return the targets, the links of the recovery below theirs, and what was measured."""
        rows: list[tuple[object, ...]] = []
        chain = recovery_of(self.history, VICTIM)
        for target in self.targets:
            word = _("met") if target.met else _("MISSED")
            rows.append((_(target.template).format(**target.params), target.measured, word))
            if target.id == "recovery" and chain is not None:
                # Without the last link: a class's few pictures end too soon to measure throughput after the
                # fault.
                times = [after for _link, after in chain_in_words(chain)[:-1]]
                rows += [(f"· {link}", after, "") for link, after in zip(link_names(), times, strict=False)]
        return Table((_("target"), _("measured"), ""), rows)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


def measure_targets(cluster: Cluster) -> Measured:
    """Process photographs on a cluster, kill a busy worker, start it again, and return the measurements.

    Every pixel is compared with the result of a plain loop. Raises DemoFailed if the run does not finish.
    """
    workers = len(cluster.workers())
    pictures = batch.gather(bundled(), wanted=PICTURES).pictures
    steps = batch.steps()
    loop = reference.compute(pictures, steps)
    rounds = batch.rounds_for(loop.seconds, RUN_S, min(workers, os.cpu_count() or 1))
    ran = Run(cluster, workers, pictures, rounds, steps, View()).perform()
    unlike = reference.different(loop, ((ran.tasks[task], data) for task, data in ran.results.items()))
    return Measured(measure(ran, workers, [pictures[number].name for number in unlike]), ran.history)
