"""The states of a cluster's processes in words: one list for the command line, the panel and whoever else
shows a cluster.

Each process has two states that may disagree, and to see just that is instructive: what its supervisor knows
(``process``), and what the broker thinks of a worker (``status``). A frozen process, for one, is there while
the broker has given it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.core.errors import N_
from labkit.support.i18n import _

STATES = {
    "ready": N_("ready"),
    "busy": N_("busy"),
    "suspect": N_("suspect"),
    "draining": N_("draining"),
    "lost": N_("lost"),
    "left": N_("left"),
    "absent": N_("joining"),
    "running": N_("running"),
    "paused": N_("frozen"),
    "stopping": N_("stopping"),
    "restarting": N_("restarting"),
    "stopped": N_("stopped"),
    "killed": N_("killed"),
}
"""A process's states and the broker's words for a worker, as people read them."""


def state_of(worker: Mapping[str, Any]) -> str:
    """Return a worker's state, a key of STATES: its process's, or while that runs the broker's word for it.

    ``worker`` is one of ``Cluster.status()["workers"]``.
    """
    process: str = worker["process"]
    return str(worker["status"]) if process == "running" else process


def cause_in_words(cause: str) -> str:
    """Return how a loss was noticed, in the reader's language."""
    words = {
        "closed": _("its connection closed"),
        "silent": _("it was silent for too long"),
        "lease": _("a task outran its lease and no report came"),
        "stale": _("its connection was no longer known"),
        "rejoined": _("it said hello anew"),
    }
    return words.get(cause, cause)


def mirror_in_words(health: str) -> str:
    """Return how the mirror in Redis fares, in the reader's language."""
    words = {
        "starting": _("starting"),
        "ok": _("mirror up to date"),
        "unreachable": _("unreachable; the cluster runs on without"),
        "denied": _("wrong password or no rights; the cluster runs on without"),
        "unusable": _("cannot be written; the cluster runs on without"),
    }
    return words.get(health, health)
