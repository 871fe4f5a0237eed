"""What others need of a cluster: the autoscaler and the panel take these, not ``Cluster`` itself.

So ``Cluster`` may make both of them, and no two files import each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from labkit.cluster.status import ClusterStatus

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.cluster.history_file import EventFile


class Scalable(Protocol):
    """A cluster that can be looked at and resized."""

    def status(self) -> ClusterStatus:
        """See ``Cluster.status``."""

    def scale(self, n: int) -> list[str]:
        """See ``Cluster.scale``."""


class ClusterView(Scalable, Protocol):
    """A cluster that can also be watched, used and disturbed."""

    def client(self, name: str = "", connect_timeout_s: float = 5.0) -> Client:
        """See ``Cluster.client``."""

    def event_file(self) -> EventFile:
        """See ``Cluster.event_file``."""

    def kill(self, name: str) -> float:
        """See ``Cluster.kill``."""

    def stop(self, name: str) -> float:
        """See ``Cluster.stop``."""

    def start(self, name: str) -> float:
        """See ``Cluster.start``."""

    def pause(self, name: str) -> float:
        """See ``Cluster.pause``."""

    def resume(self, name: str) -> float:
        """See ``Cluster.resume``."""
