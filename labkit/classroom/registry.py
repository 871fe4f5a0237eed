"""The worker registry twice: as the broker knows it, and as its snapshot in Redis shows it.

::

    registry = Registry(cluster)
    registry.beside_broker()
    registry.flush()
    registry.until_whole()

If a cluster has no Redis (on Windows, or none is installed), each call prints that and does nothing: the
cluster works without it, which is the point of the lesson. A Redis that does not belong to the cluster is
read but never flushed: FLUSHALL would delete everything that its owner keeps there.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from labkit.charts import Table
from labkit.cluster import status_text
from labkit.cluster.processes import REDIS
from labkit.core.errors import N_, LabkitError
from labkit.mirror.writer import PENDING_KEY, WORKERS_KEY
from labkit.support.i18n import _

if TYPE_CHECKING:
    import redis

    from labkit.cluster import Cluster

PATIENCE_S = 10.0
POLL_S = 0.01


class RegistryIncomplete(LabkitError):
    """The snapshot in Redis did not become complete in time."""


class ForeignRedis(LabkitError):
    """The Redis of this cluster belongs to the user, and may hold other data."""


class Registry:
    """See the module's head."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._redis: redis.Redis | None = None
        if cluster.redis_url is not None:
            from labkit.mirror.redis_client import open_client

            self._redis = open_client(cluster.redis_url, 5.0, decode_responses=True)

    def raw(self, worker: str) -> None:
        """Print one field of the hash in Redis: the answer to ``HGET workers worker-1``."""
        if (connection := self._connection()) is not None:
            print(f"HGET {WORKERS_KEY} {worker}")
            print(json.dumps(json.loads(connection.hget(WORKERS_KEY, worker) or "null"), indent=2))

    def beside_broker(self) -> Table:
        """Return the broker's state and the snapshot in Redis, a row per worker; heartbeats in s ago."""
        known = {row["id"]: row for row in (self._cluster.status()["broker"] or {}).get("workers", [])}
        mirrored = self._snapshot()
        now = time.time()
        columns = (
            _("worker"),
            _("broker: status"),
            _("in flight"),
            _("completed"),
            _("heartbeat (s ago)"),
            _("Redis: status"),
            _("in flight"),
            _("completed"),
            _("heartbeat (s ago)"),
        )
        rows: list[tuple[object, ...]] = []
        for name in sorted({*known, *mirrored}):
            broker, redis = known.get(name), mirrored.get(name)
            left = (
                (None,) * 4
                if broker is None
                else (
                    status_text.STATES[broker["status"]].word,
                    broker["in_flight"],
                    broker["tasks_completed"],
                    broker["last_heartbeat_age_s"],
                )
            )
            right = (
                (None,) * 4
                if redis is None
                else (
                    status_text.STATES[redis["state"]].word,
                    redis["in_flight"],
                    redis["tasks_completed"],
                    now - redis["last_heartbeat"],
                )
            )
            rows.append((name, *left, *right))
        return Table(columns, rows)

    def count(self) -> int:
        """Return how many workers Redis shows; 0 without a Redis."""
        return len(self._snapshot())

    def queue(self) -> int:
        """Return how many tasks wait: the answer to ``LLEN image_tasks``."""
        connection = self._connection()
        return int(connection.llen(PENDING_KEY)) if connection is not None else 0

    def flush(self) -> int:
        """Do what ``redis-cli FLUSHALL`` does, and return how many workers Redis shows right after it.

        Raises ForeignRedis if the cluster did not start that Redis itself.
        """
        connection = self._connection()
        if connection is None:
            return 0
        if not self._is_the_clusters():
            raise ForeignRedis(
                N_(
                    "this Redis is yours (REDIS_URL), so it is not emptied; "
                    "unset the variable and run from the top"
                )
            )
        with connection.pipeline(
            transaction=True
        ) as pipe:  # in one transaction, so that the mirror cannot refill it in between
            pipe.flushall()
            pipe.hlen(WORKERS_KEY)
            return int(pipe.execute()[-1])

    def until_whole(self) -> float:
        """Wait until Redis shows all workers the broker knows; return the seconds, 0.0 without Redis."""
        if self._redis is None:
            return 0.0
        began = time.monotonic()
        wanted = len((self._cluster.status()["broker"] or {}).get("workers", []))
        while self.count() < wanted:
            if time.monotonic() > began + PATIENCE_S:
                raise RegistryIncomplete(
                    N_("after {seconds:.0f} s Redis shows too few workers ({n} of {wanted})"),
                    seconds=PATIENCE_S,
                    n=self.count(),
                    wanted=wanted,
                )
            time.sleep(POLL_S)
        return time.monotonic() - began

    def close(self) -> None:
        """Close the connection."""
        if self._redis is not None:
            self._redis.close()

    def _is_the_clusters(self) -> bool:
        """Whether the cluster started its Redis itself; containers always do."""
        rows = self._cluster.status()["processes"]
        return self._cluster.backend == "compose" or any(row["kind"] == REDIS for row in rows)

    def _connection(self) -> redis.Redis | None:
        if self._redis is None:
            print(
                _(
                    "This cluster has no Redis. It works without it: Redis is a copy, never the source of"
                    " truth."
                )
            )
        return self._redis

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        connection = self._connection()
        if connection is None:
            return {}
        fields: Any = connection.hgetall(WORKERS_KEY)
        return {name: json.loads(value) for name, value in fields.items()}
