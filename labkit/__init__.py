"""labkit: a small distributed system that runs for real on a laptop, made to be read, broken and measured.

::

    from labkit import open_cluster, open_executor, process_batch
    from labkit.imaging.photos import bundled

    with open_cluster(workers=3) as cluster, open_executor("cluster", cluster=cluster) as executor:
        pictures = process_batch(executor, [photo.array() for photo in bundled()], ["sharpen", "edges"])

Reading order, from the idea to the machine. Each step needs only the ones before it:

1.  ``labkit.core.protocol.rules``, ``labkit.core.errors``: the numbers all agree on; what can go wrong, by
    name.
2.  ``labkit.core.protocol.messages`` and ``wire``: what travels between client, broker and worker, and its
    bytes (PROTOCOL.md).
3.  ``labkit.core.broker.policies``: who gets the next task; each policy is a function of a few lines.
4.  ``labkit.core.broker.scheduler``: the broker's mind, a state machine without socket or clock; with it
    ``placement`` and ``evidence``, two decisions of its own, and ``tasks``, ``fleet``, ``clients`` and
    ``timers``, the tables that it keeps.
5.  ``labkit.core.peers.session``, then ``worker_session`` and ``client_session`` beside it: the same for the
    other
    two sides.
6.  ``labkit.core.history``: what happened, event by event, and every question that can be asked of it.
7.  ``labkit.simulation``: those three minds with a lossy network, on a clock that nobody waits for.
8.  ``labkit.imaging.filters``, ``images``, ``photos``: the work itself, on real photographs.
9.  ``labkit.jobs``, ``codec``, ``pipeline``: how a call travels, and one batch for any engine.
10. ``labkit.broker``, ``workers``, ``labkit.client.client``: a socket and threads round each of the minds.
11. ``labkit.mirror.writer``: the picture of it all in Redis.
12. ``labkit.cluster``, ``labkit.executors``: the processes of a cluster, and how a program uses them.
13. ``labkit.charts``, ``labkit.panel``, ``labkit.classroom``, ``labkit.demo``, ``labkit.cli``: what people
    see.
14. ``labkit.faults``: every fault done to a live cluster, and what was promised of it, measured.
15. ``labkit.support.timing``, ``labkit.classroom``, then ``notebooks/source``: the course.

A module imports lower floors only (ARCHITECTURE.md; a test holds it to that). The four names below are the
door for programs and notebooks. What lies behind each is imported when it is first used: ``import labkit``
costs nothing, so a broker or a worker never loads what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.batch import process_batch
    from labkit.cluster import connect, open_cluster
    from labkit.executors import open_executor

__version__ = "0.1.0"
__all__ = ["connect", "open_cluster", "open_executor", "process_batch"]

_HOMES = {
    "connect": "labkit.cluster",
    "open_cluster": "labkit.cluster",
    "open_executor": "labkit.executors",
    "process_batch": "labkit.batch",
}


def __getattr__(name: str) -> Any:
    """Import one of the four names from where it lives (PEP 562); asked only for what is not here yet."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
