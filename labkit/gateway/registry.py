"""The workers as Redis shows them, and how old that picture is.

Redis is a copy. The newest heartbeat in it tells how old the copy is: each worker is heard twice a second,
and the mirror writes at least once a second. Reads are shared: many callers at the same moment cost one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from labkit.core.errors import N_, ClusterError
from labkit.mirror.url import without_password
from labkit.support.i18n import translate_error

log = logging.getLogger("labkit.gateway")

T = TypeVar("T")

STALE_S = 3.0
"""A picture older than this is called stale."""
CACHED_S = 0.1
TIMEOUT_S = 0.25


class Cached(Generic[T]):
    """A value that is looked up again when it is older than ``keep_s``; any thread may ask."""

    def __init__(self, look: Callable[[], T], keep_s: float) -> None:
        self._look = look
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._value: T | None = None
        self._looked_at = float("-inf")

    def fresh(self) -> T | None:
        """Return the value if it is young enough, without looking; None otherwise."""
        return self._value if time.monotonic() - self._looked_at < self._keep_s else None

    def get(self) -> T:
        """Return the value; looks it up if it is too old. Raises what looking raises."""
        with self._lock:
            if (value := self.fresh()) is None:
                value = self._value = self._look()
                self._looked_at = time.monotonic()
            return value


OK, STALE, UNAVAILABLE = "ok", "stale", "unavailable"
"""How good the copy is: the present, an old one, or none."""


class Picture(NamedTuple):
    """The hash ``workers`` at one moment; ``error`` says why it could not be read."""

    workers: list[dict[str, Any]]
    read_at: float
    """Seconds since 1970."""
    error: ClusterError | None = None

    @property
    def problem(self) -> str:
        """Why it could not be read, in the reader's language; empty if it could."""
        return "" if self.error is None else translate_error(self.error)

    def age_s(self, now: float) -> float | None:
        """Return how old the copy is: since the newest heartbeat of an active worker; None without any."""
        heard = [row["last_heartbeat"] for row in self.workers if row["status"] == "active"]
        return max(0.0, now - max(heard)) if heard else None

    def state(self, now: float) -> str:
        """Return ok, stale (too old to be the present) or unavailable (there is no copy)."""
        if self.error is not None:
            return UNAVAILABLE
        age_s = self.age_s(now)
        return STALE if age_s is not None and age_s > STALE_S else OK


class Registry:
    """Reads the hash of one Redis; ``url`` None: there is none."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._answers = True
        """Whether it did so last: its failure is logged once, not at each request."""
        self.cached = Cached(self._read, CACHED_S)

    @property
    def where(self) -> str | None:
        """The server's address without its password."""
        return None if self._url is None else without_password(self._url)

    def _read(self) -> Picture:
        if self._url is None:
            return Picture([], time.time(), ClusterError(N_("this cluster has no Redis")))
        from redis import RedisError

        from labkit.mirror.redis_client import open_client
        from labkit.mirror.writer import WORKERS_KEY

        try:
            client = open_client(self._url, TIMEOUT_S)
            try:
                fields: dict[bytes, bytes] = client.hgetall(WORKERS_KEY)  # type: ignore[assignment]
            finally:
                client.close()
        except (RedisError, OSError) as error:
            if self._answers:
                log.warning("the workers in Redis cannot be read: %s", error)
            self._answers = False
            does_not_answer = ClusterError(
                N_("Redis at {where} does not answer; python -m labkit status shows whether it runs"),
                where=self.where,
            )
            return Picture([], time.time(), does_not_answer)
        self._answers = True
        return Picture(rows_of(fields), time.time())


def rows_of(fields: dict[bytes, bytes]) -> list[dict[str, Any]]:
    """Return the workers in a hash, by name; fields that the mirror did not write are left out."""
    rows = []
    for text in fields.values():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if (
            isinstance(row, dict)
            and isinstance(row.get("id"), str)
            and isinstance(row.get("last_heartbeat"), int | float)
            and isinstance(row.get("tasks_completed"), int)
            and isinstance(row.get("status"), str)
        ):
            rows.append(row)
    return sorted(rows, key=lambda row: _natural(row["id"]))


def _natural(name: str) -> tuple[Any, ...]:
    from labkit.core.history import natural

    return natural(name)


def workers_status(picture: Picture, broker: dict[str, Any] | None, now: float) -> dict[str, Any]:
    """Return the course's answer: each worker with its share, how many are active, and how old that is.

    ``broker``: the broker's own status, shown beside Redis' copy; None if it does not answer. ``redis``: ok,
    stale or unavailable. Of a copy that is unavailable the counts are None: zero would be a claim.
    """
    known = picture.error is None
    done = sum(row["tasks_completed"] for row in picture.workers)
    own = {row["id"]: row["status"] for row in (broker or {}).get("workers", ())}
    age_s = picture.age_s(now)
    return {
        "workers": [
            {
                **row,
                "heartbeat_age_s": round(max(0.0, now - row["last_heartbeat"]), 3),
                "share": round(row["tasks_completed"] / done, 4) if done else None,
                "broker_says": own.get(row["id"]),
            }
            for row in picture.workers
        ],
        "active": sum(row["status"] == "active" for row in picture.workers) if known else None,
        "total": len(picture.workers) if known else None,
        "tasks_completed": done if known else None,
        "age_s": None if age_s is None else round(age_s, 3),
        "stale": picture.state(now) != OK,
        "redis": picture.state(now),
        "source": "redis",
        "problem": picture.problem or None,
        "broker": None
        if broker is None
        else {"answers": True, "workers": own, "queued": broker["queued"], "in_flight": broker["assigned"]},
    }
