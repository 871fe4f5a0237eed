"""Why a lesson waits in vain: a process that is down or frozen. It is said within seconds, with what to do.

A cell that waits looks about once a second. What has been taken down by command (on the panel, most likely)
is told at once. A broker that should be up and does not answer has ``SILENT_S``: one that has just been
started needs a moment, and so does one on a busy machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ClusterError, LabkitError

if TYPE_CHECKING:
    from labkit.cluster import Cluster

LOOK_S = 1.0
SILENT_S = 12.0
"""Twice a worker's and a client's own patience with a silent broker (``broker_gone_s``): they may return."""
DOWN = frozenset({"stopping", "stopped", "killed"})
FROZEN = "paused"


class LessonStuck(LabkitError):
    """What a lesson waits for does not come."""


class Watch:
    """Looks after the processes that something waits for; for one thread, and one wait."""

    def __init__(self, cluster: Cluster, worker: str | None = None) -> None:
        """``worker``: who must be up; None: the broker alone must be, and, if there are workers, one."""
        self._cluster = cluster
        self._worker = worker
        self._looked = time.monotonic()
        self._answered = time.monotonic()

    def refuse_if_stuck(self) -> None:
        """Raise LessonStuck if what is waited for cannot come; cheap, because it looks once in ``LOOK_S``."""
        if time.monotonic() < self._looked + LOOK_S:
            return
        try:
            told = self._cluster.status()
        except ClusterError as error:
            if error.definite:
                raise
            return  # the supervisor had no time to answer: the next look will tell
        finally:
            self._looked = time.monotonic()
        states = {row["name"]: row["state"] for row in told["processes"]}
        self._refuse_broker(states.get("broker", ""), answers=told["broker"] is not None)
        workers = {row["name"]: row["process"] for row in told["workers"]}
        if self._worker is not None and _is_out(workers.get(self._worker, "")):
            raise LessonStuck(
                N_(
                    "{worker} is down or frozen, so it computes nothing: start or resume it on the panel, "
                    "then run this cell again"
                ),
                worker=self._worker,
            )
        if workers and all(map(_is_out, workers.values())):
            raise LessonStuck(
                N_(
                    "every worker is down or frozen, so nobody computes: start or resume one on the panel, "
                    "then run this cell again"
                )
            )

    def _refuse_broker(self, state: str, answers: bool) -> None:
        if answers:
            self._answered = self._looked
        if state == FROZEN:
            raise LessonStuck(
                N_(
                    "the broker does not answer, because it is frozen: resume it on the panel, or with "
                    "cluster.resume('broker'), then run this cell again"
                )
            )
        if state in DOWN:
            raise LessonStuck(
                N_(
                    "the broker does not answer, because it is down: start it on the panel, or with "
                    "cluster.start('broker'), then run this cell again"
                )
            )
        if not answers and self._looked > self._answered + SILENT_S:
            raise LessonStuck(
                N_(
                    "the broker has not answered for {seconds:.0f} s: it hangs, or this machine is very "
                    "busy; print(cluster.logs('broker')) shows what it printed. Run this cell again; if that "
                    "does not help, restart the kernel and run the notebook from the top"
                ),
                seconds=self._looked - self._answered,
            )


def _is_out(state: str) -> bool:
    return state == FROZEN or state in DOWN
