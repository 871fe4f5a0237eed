"""Detects that a lesson waits for a process that is down or frozen, and raises an error with the remedy.

A waiting cell checks about once a second. A process taken down by command (most likely on the panel) is
reported at the first check. A broker that should be up but does not answer has ``SILENT_S``: right after its
start, or on a busy machine, it needs a moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from labkit.cluster.status_text import STATES
from labkit.core.errors import N_, ClusterError, LabkitError

if TYPE_CHECKING:
    from labkit.cluster import Cluster

LOOK_S = 1.0
SILENT_S = 12.0
"""Twice ``broker_gone_s``, after which workers and clients give up a silent broker: they may reconnect."""


class LessonStalled(LabkitError):
    """The event that a lesson waits for cannot happen."""


class StallWatch:
    """Watches the processes that one wait in one thread depends on."""

    def __init__(self, cluster: Cluster, worker: str | None = None) -> None:
        """``worker`` must be up; None: the broker, and at least one of the workers if there are any."""
        self._cluster = cluster
        self._worker = worker
        self._looked = time.monotonic()
        self._answered = time.monotonic()

    def raise_if_stalled(self) -> None:
        """Raise LessonStalled if the awaited event cannot happen. Cheap: it checks once per ``LOOK_S``."""
        if time.monotonic() < self._looked + LOOK_S:
            return
        try:
            status = self._cluster.status()
        except ClusterError as error:
            if error.definite:
                raise
            return  # the supervisor was too busy to answer: the next check decides
        finally:
            self._looked = time.monotonic()
        states = {row["name"]: row["state"] for row in status["processes"]}
        self._refuse_broker(states.get("broker", ""), answers=status["broker"] is not None)
        workers = {row["name"]: row["process"] for row in status["workers"]}
        if self._worker is not None and _is_out(workers.get(self._worker, "")):
            raise LessonStalled(
                N_(
                    "{worker} is down or frozen, so it computes nothing: start or resume it on the panel, "
                    "then run this cell again"
                ),
                worker=self._worker,
            )
        if workers and all(map(_is_out, workers.values())):
            raise LessonStalled(
                N_(
                    "every worker is down or frozen, so no task makes progress: start or resume one on "
                    "the panel, then run this cell again"
                )
            )

    def _refuse_broker(self, state: str, answers: bool) -> None:
        if answers:
            self._answered = self._looked
        if state == "paused":
            raise LessonStalled(
                N_(
                    "the broker does not answer, because it is frozen: resume it on the panel, or with "
                    "cluster.resume('broker'), then run this cell again"
                )
            )
        if _is_out(state):
            raise LessonStalled(
                N_(
                    "the broker does not answer, because it is down: start it on the panel, or with "
                    "cluster.start('broker'), then run this cell again"
                )
            )
        if not answers and self._looked > self._answered + SILENT_S:
            raise LessonStalled(
                N_(
                    "the broker has not answered for {seconds:.0f} s: it hangs, or this machine is very "
                    "busy; print(cluster.logs('broker')) shows what it printed. Run this cell again; if that "
                    "does not help, restart the kernel and run the notebook from the top"
                ),
                seconds=self._looked - self._answered,
            )


def _is_out(state: str) -> bool:
    return state == "stopping" or bool(state and STATES[state].recovery)
