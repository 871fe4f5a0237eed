"""labkit: a small distributed system that runs for real on a laptop, made to be read, broken and measured.

::

    from labkit import open_cluster, open_executor, process_batch
    from labkit.imaging.photos import bundled

    with open_cluster(workers=3) as cluster, open_executor("cluster", cluster=cluster) as executor:
        pictures = process_batch(executor, [photo.array() for photo in bundled()], ["sharpen", "edges"])

Reading order, from the idea to the machine. Each step needs only the ones before it:

1.  ``core.protocol.rules``, ``core.errors``: the numbers that all sides agree on; what can go wrong, by name.
2.  ``core.protocol.messages``, ``wire``: the messages between client, broker and worker, and their bytes
    (PROTOCOL.md).
3.  ``core.broker.policies``: which worker gets the next task; each policy is a function of a few lines.
4.  ``core.broker.scheduler``: what the broker decides, a state machine without socket or clock. Beside it are
    its parts (``task_life``, ``liveness``, ``admission``, ``placement``, ``blame``) and its tables
    (``task_queue``, ``worker_table``, ``client_table``).
5.  ``core.peers.session``, then ``worker_events`` with ``worker_session``, and ``client_events`` with
    ``client_session``: the same for the other two sides.
6.  ``core.history``: what happened, event by event, and the answers to every question about it.
7.  ``simulation``: those three state machines with a lossy network, on a virtual clock.
8.  ``imaging.filters``, ``image_files``, ``photos``: the work itself, on real photographs.
9.  ``calls.registry``, ``calls.serialization``, ``jobs``, ``batch``: how a call travels, and one batch for
    any engine.
10. ``transport``, then ``broker``, ``workers``, ``client``: a socket and threads round each state machine.
11. ``mirror``: a view of the broker's state in Redis.
12. ``cluster``, ``executors``: the processes of a cluster, and how a program uses them.
13. ``charts``, ``panel``, ``demo``, ``gateway``, ``load``, ``cli``: what people see.
14. ``faults``: every fault injected into a live cluster, and the promises about it, measured.
15. ``support.timing``, ``classroom``, then ``notebooks/source``: the course; ``practice``: its exercises.

All names are below ``labkit``, except ``workers`` and ``notebooks``. Each folder may import only the folders
that ARCHITECTURE.md lists for it; a test checks that. The four names below are for programs and notebooks.
Each is imported when it is first used: ``import labkit`` costs nothing, so a broker or a worker never loads
code that it does not need.
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
    """Return one of the four names, imported on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
