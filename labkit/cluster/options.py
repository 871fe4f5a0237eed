"""``ClusterOptions``: what a new cluster is to be, for every backend alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labkit.cluster.processes import check_worker_count

Capabilities = Sequence[str] | Mapping[str, Sequence[str]] | None
"""Filters that every worker serves, or by worker; None (or a worker left out): all."""


@dataclass(frozen=True)
class ClusterOptions:
    """What a new cluster is to be. Raises InvalidInput for a number of workers that it cannot have."""

    workers: int = 3
    name: str | None = None
    """None: LABKIT_CLUSTER for a background cluster; the backend chooses one for a private cluster."""
    capabilities: Capabilities = None
    """None: what WORKER_CAPABILITIES names, or else all filters."""
    slots: int | None = None
    """Tasks that a worker computes at once; None: LABKIT_SLOTS."""
    policy: str | None = None
    """None: LABKIT_POLICY."""
    redis: bool = True
    """Whether there is a mirror in Redis."""
    api: bool = False
    """Whether the cluster has an HTTP side."""
    ready_timeout_s: float | None = 30.0
    """How long to wait until the cluster is ready; None: do not wait."""

    def __post_init__(self) -> None:
        check_worker_count(self.workers)

    @property
    def is_usual(self) -> bool:
        """Whether the cluster is to be like the one that docker-compose.yml describes."""
        special = (self.capabilities, self.slots, self.policy)
        return self.workers == ClusterOptions.workers and self.redis and not any(special)
