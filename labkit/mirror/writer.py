"""Writes the broker's workers and queue into Redis, for redis-cli, a notebook or a dashboard to read.

* It writes the hash ``workers`` (field: worker id, value: JSON) and the list ``image_tasks`` (the pending
  tasks as JSON with id, job and the time of submission, oldest first, so that LLEN is the queue's length),
  both in one MULTI: a reader never sees half a snapshot. With a ``prefix`` the keys are ``<prefix>workers``
  and ``<prefix>image_tasks``; two clusters on one Redis need two prefixes. The keys belong to the mirror: any
  other content, of any type, is replaced.
* Redis holds a copy, never the truth. The mirror reads back only the lengths and the ends of what it has just
  written. A difference means that Redis was flushed, restarted or edited; the mirror then writes everything.
* The broker's loop never waits: it leaves the latest snapshot in a slot, and the mirror's own thread writes
  it. The next snapshot replaces one that was not written in time: the latest state wins.

::

    starting --written--> ok <--written-- unreachable | denied | unusable      any --close()--> closed
                          ok --an error-> (one of these three; retried after 0.05 s, doubling to 0.5 s)

Guarantee: whether Redis is down, slow, frozen, flushed, restarted, foreign or no Redis at all, the caller of
``offer`` does not notice; and 1 s after Redis serves (again), its snapshot is complete.

Source: the slot is ZeroMQ's CONFLATE option. For the short timeouts without retries see
``labkit.mirror.redis_client``; it costs 0.1 s and 18 MiB, so the thread imports it before its first write.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from labkit.core.broker.snapshot import Snapshot
from labkit.mirror.url import without_password

if TYPE_CHECKING:
    from redis.typing import EncodableT

log = logging.getLogger("labkit.mirror")

GONE = frozenset({"lost", "left"})
"""The states of workers that are not active."""

WORKERS_KEY = "workers"
PENDING_KEY = "image_tasks"

SOON_S = 0.1
"""After a change, the next snapshot is due this long after the last one, at the earliest."""
LATEST_S = 1.0
"""Without a change, the next snapshot (with newer heartbeats) is due after this long."""
LONG_QUEUE = 10_000
"""With more pending tasks than this, a snapshot costs the broker milliseconds: one every ``LATEST_S``."""
BUSY_SHARE = 0.02
"""The thread shares the interpreter with the broker's loop: writing may take this share of the time."""

REFRESH_S = 0.5
"""Without a new snapshot the last one is written again after this long, so a flush heals within 1 s."""
SOCKET_TIMEOUT_S = 0.25
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 0.5
CHUNK = 1_000
"""Ids per RPUSH: a long list is many commands of moderate size, still in one transaction."""


class Change(NamedTuple):
    """How the old list becomes the new one: ``drop`` ids leave at the front, ``append`` joins at the back."""

    drop: int
    append: tuple[str, ...]


def plan(old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    """Return the change from ``old`` to ``new``: short if ``new`` is ``old`` minus a prefix plus a suffix.

    A queue nearly always changes that way. Otherwise (a task requeued at the front, one cancelled in the
    middle) the change drops all and appends all. Task ids are unique; with repeated ids the result is still
    right, but may be longer than necessary. Time is linear in the two lengths, all of it in C loops.
    """
    everything = Change(len(old), new)
    if not old or not new:
        return everything
    try:
        first = old.index(new[0])
    except ValueError:
        return everything
    kept = len(old) - first
    if old[first:] == new[:kept]:
        return Change(first, new[kept:])
    return everything


def worker_fields(snapshot: Snapshot, wall: float) -> dict[str, str]:
    """Return the fields of the hash ``workers`` for a snapshot taken at the unix time ``wall`` (seconds)."""
    return {
        worker["id"]: json.dumps(
            {
                "id": worker["id"],
                "capabilities": list(worker["capabilities"]),
                "last_heartbeat": round(wall - worker["last_heartbeat_age_s"], 3),
                "status": "inactive" if worker["status"] in GONE else "active",
                "state": worker["status"],
                "tasks_completed": worker["tasks_completed"],
                "in_flight": worker["in_flight"],
                "slots": worker["slots"],
                "epoch": worker["epoch"],
            }
        )
        for worker in snapshot.workers
    }


class Pending:
    """The list ``image_tasks`` of one snapshot: ``ids`` for comparing, and what Redis shows of each.

    A label's time of day is its instant plus ``wall_offset``, the same for all snapshots of a mirror. So the
    text of a task never changes, and only the texts that are sent are made.
    """

    def __init__(self, snapshot: Snapshot, wall_offset: float = 0.0) -> None:
        self.ids = snapshot.pending
        self._labels = snapshot.labels
        self._offset = wall_offset

    def text(self, number: int) -> str:
        """Return the entry of a task, by its place in the queue: JSON, or its bare id without a label."""
        if not self._labels:
            return self.ids[number]
        id, job, submitted_at = self._labels[number]
        return f'{{"id": "{id}", "job": {_quoted(job)}, "since": "{_utc(int(self._offset + submitted_at))}"}}'


_quoted = lru_cache(1024)(json.dumps)


@lru_cache(1024)
def _utc(seconds: int) -> str:
    """Return a unix time as people and programs read it: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Health(NamedTuple):
    """The result of the last attempt to write.

    ``state``: starting, ok, unreachable (refused, timed out, broken off), denied (password or rights),
    unusable (no Redis, read-only, out of memory, no Redis URL), broken (a bug of ours; its traceback is in
    the log), closed.
    ``detail``: one English line, or empty.
    """

    state: str
    detail: str = ""


class _Shot(NamedTuple):
    snapshot: Snapshot
    wall: float


class Mirror:
    """The mirror of one broker in the Redis at ``url``: ``start``, ``wants`` and ``offer``, then ``close``.

    The broker's loop, each turn::

        if mirror.wants(now, changed):
            mirror.offer(scheduler.snapshot(now))
            changed = False
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._url = url
        self._prefix = prefix
        self._granted_at = float("-inf")
        self._write_s = 0.0
        self._wall_offset = time.time() - time.monotonic()
        self._latest: _Shot | None = None
        self._health = Health("starting")
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labkit-mirror", daemon=True)

    def start(self) -> None:
        """Start the thread; nothing is written before the first ``offer``."""
        self._thread.start()

    @property
    def health(self) -> Health:
        """The result of the last attempt to write; may be read from any thread."""
        return Health("closed") if self._closing.is_set() else self._health

    def due_at(self, changed: bool) -> float:
        """Return the instant of the next snapshot, on the clock of ``wants``; -inf at first."""
        latest = self._latest
        long_queue = latest is not None and len(latest.snapshot.pending) > LONG_QUEUE
        if not changed or long_queue or self._health.state != "ok":
            return self._granted_at + LATEST_S
        return self._granted_at + min(LATEST_S, max(SOON_S, self._write_s / BUSY_SHARE))

    def wants(self, now: float, changed: bool = True) -> bool:
        """Return whether the broker should make a snapshot and offer it: True once a period.

        ``now``: the broker's monotonic seconds. ``changed``: whether anything but heartbeats differs from the
        last snapshot. Costs less than a microsecond.
        """
        if now < self.due_at(changed) or self._closing.is_set():
            return False
        self._granted_at = now
        return True

    def offer(self, snapshot: Snapshot) -> None:
        """Leave the latest snapshot for the thread and return at once; an older one is forgotten."""
        # The snapshot's ages count from now, not from the moment at which Redis is reachable again.
        self._latest = _Shot(snapshot, time.time())
        self._news.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write the last offer if Redis works, and end the thread; takes ``timeout_s`` at most.

        A broker that stops in order offers an empty ``Snapshot()`` first, so that Redis shows no workers.
        """
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # --- the thread ---

    def _run(self) -> None:
        copy: _Copy | None = None
        written: _Shot | None = None
        backoff_s = 0.0
        while True:
            # After a failure, a new snapshot does not shorten the wait; only close() does.
            if backoff_s:
                self._closing.wait(backoff_s)
            else:
                self._news.wait(REFRESH_S)
            self._news.clear()  # before reading the slot: a later offer sets it again
            closing = self._closing.is_set()
            shot = self._latest
            # When closing, write only a new snapshot, and only if the last attempt succeeded.
            if shot is not None and not (closing and (backoff_s or shot is written)):
                begun = time.monotonic()
                try:
                    if copy is None:
                        copy = _Copy(self._url, self._prefix)
                    pending = Pending(shot.snapshot, self._wall_offset)
                    copy.write(pending, worker_fields(shot.snapshot, shot.wall))
                except Exception as error:  # noqa: BLE001 - no reply may end the thread
                    self._failed(error)
                    if copy is not None:
                        copy.close()
                        copy = None
                    backoff_s = min(MAX_BACKOFF_S, max(FIRST_BACKOFF_S, backoff_s * 2))
                else:
                    self._write_s = time.monotonic() - begun
                    self._set_health(Health("ok"))
                    written = shot
                    backoff_s = 0.0
            if closing:
                if copy is not None:
                    copy.close()
                return

    def _failed(self, error: Exception) -> None:
        detail = str(error) or type(error).__name__
        if isinstance(error, ValueError):  # its text may quote the URL with the password
            detail = "no Redis URL, or no Redis at it"
        self._set_health(Health(_state_of(error), detail), error)

    def _set_health(self, health: Health, error: Exception | None = None) -> None:
        before, self._health = self._health.state, health
        if health.state == before or self._closing.is_set():  # at the end of a cluster Redis may stop first
            return
        if health.state == "ok":
            log.info("mirror: writing to %s", without_password(self._url))
            return
        log.warning(
            "mirror: %s is %s (%s); the cluster runs on without it, and the mirror tries again",
            without_password(self._url),
            health.state,
            health.detail,
            exc_info=error if health.state == "broken" else None,
        )


def _state_of(error: Exception) -> str:
    """Return the state of ``Health`` that an error stands for."""
    from redis import exceptions as kinds

    # Most specific first: redis-py's AuthenticationError is a ConnectionError.
    if isinstance(error, (kinds.AuthenticationError, kinds.AuthorizationError, kinds.NoPermissionError)):
        return "denied"
    if isinstance(error, (kinds.ConnectionError, kinds.TimeoutError, OSError)):
        return "unreachable"
    if isinstance(error, (kinds.RedisError, ValueError)):
        return "unusable"
    return "broken"


class _Copy:
    """The two keys in one Redis, and the queue that we last wrote there; used only by the mirror's thread.

    Every method may raise redis.RedisError, OSError or ValueError; close the object then.
    """

    def __init__(self, url: str, prefix: str) -> None:
        from labkit.mirror.redis_client import open_client

        self._workers_key = prefix + WORKERS_KEY
        self._pending_key = prefix + PENDING_KEY
        self._written: tuple[str, ...] | None = None
        self._client = open_client(url, SOCKET_TIMEOUT_S)

    def write(self, pending: Pending, workers: dict[str, str]) -> None:
        """Write both keys; on return, Redis has confirmed them."""
        import redis

        if self._written is not None:
            try:
                if self._transact(pending, workers, plan(self._written, pending.ids)):
                    return
            except redis.ResponseError:
                log.debug("mirror: the difference was refused (another type at a key?), writing everything")
        self._written = None
        # When a frozen server wakes, it executes the commands that it received before. So send the
        # transaction only after the server has answered on this connection: the commands of older connections
        # have then been executed.
        self._client.ping()
        if not self._transact(pending, workers, None):
            raise redis.InvalidResponse("the server does not show what the same transaction wrote")

    def _transact(self, pending: Pending, workers: dict[str, str], change: Change | None) -> bool:
        """Apply ``change`` (None: write everything) and return whether Redis then shows the right content."""
        pipe = self._client.pipeline(transaction=True)
        # The workers are few and their heartbeats always differ: write all, which also removes lost ones.
        pipe.delete(self._workers_key)
        if workers:
            fields: dict[EncodableT, EncodableT] = dict(workers.items())
            pipe.hset(self._workers_key, mapping=fields)
        if change is None:
            pipe.delete(self._pending_key)
            change = Change(0, pending.ids)
        if change.drop:
            pipe.ltrim(self._pending_key, change.drop, -1)
        count = len(pending.ids)
        for start in range(count - len(change.append), count, CHUNK):
            texts = [pending.text(number) for number in range(start, min(start + CHUNK, count))]
            pipe.rpush(self._pending_key, *texts)
        pipe.hlen(self._workers_key)
        pipe.llen(self._pending_key)
        pipe.lindex(self._pending_key, 0)
        pipe.lindex(self._pending_key, -1)
        shown: list[object] = pipe.execute()[-4:]
        ends = [pending.text(0).encode(), pending.text(count - 1).encode()] if count else [None, None]
        right = shown == [len(workers), count, *ends]
        self._written = pending.ids if right else None
        return right

    def close(self) -> None:
        self._client.close()
