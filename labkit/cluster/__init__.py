"""Clusters: start one, find one that runs, do things to it.

Names are imported when they are first used. The supervisor is in this package too, and must not load what
only the programs that use a cluster need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cluster.cluster import Cluster
    from labkit.cluster.open import connect, open_cluster, start_background

__all__ = ["Cluster", "WorkerInfo", "connect", "open_cluster", "start_background"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    homes = {"Cluster": "cluster", "WorkerInfo": "status"}
    return getattr(import_module(f"labkit.cluster.{homes.get(name, 'open')}"), name)
