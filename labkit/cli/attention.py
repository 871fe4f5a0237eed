"""Problems of a cluster as lines for people, each with the next step."""

from __future__ import annotations

import time

from labkit.cli import output
from labkit.cluster.status import ClusterStatus
from labkit.cluster.status_text import STATES
from labkit.support.i18n import _, ngettext

UNRECORDED_SHOWN_S = 600.0
"""For so long the status mentions a fault that the history lacks."""


def lines(status: ClusterStatus) -> list[str]:
    """Return lines about what is not as it should be, each with the next step."""
    found = []
    for row in status["processes"]:
        if row.get("unstarted"):
            found.append(
                _("{process} was never started: python -m labkit up makes it anew").format(
                    process=row["name"]
                )
            )
            continue
        if row["kind"] == "worker" or row["state"] in ("running", "restarting"):
            continue
        state = STATES[row["state"]]
        text = _("{process} is {state}: python -m labkit {command} {process}")
        command = state.recovery or "start"
        found.append(text.format(process=row["name"], state=state.word, command=command))
    for row in status["processes"]:
        if row["restart_in_s"]:
            text = _("{process} keeps ending ({end}): python -m labkit logs {process}")
            found.append(text.format(process=row["name"], end=row["last_exit"]))
    broker_runs = any(row["kind"] == "broker" and row["state"] == "running" for row in status["processes"])
    if status["broker"] is None and broker_runs:
        text = _("the broker does not answer: python -m labkit logs broker")
        found.append(text)
    # That the start of the broker itself cannot be noted by it goes without saying.
    now = time.time()
    unrecorded = [
        fault
        for fault in status["unrecorded_faults"]
        if fault["target"] != "broker" and now - fault.get("wall", now) < UNRECORDED_SHOWN_S
    ]
    if n := len(unrecorded):
        text = ngettext(
            "{n} fault is not in the history: the broker was down when it was done",
            "{n} faults are not in the history: the broker was down when they were done",
            n,
        )
        found.append(text.format(n=n))
    return [output.as_called(line) for line in found]
