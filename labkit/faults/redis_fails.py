"""Cases: Redis is frozen, flushed, or killed and started again. Tasks are unaffected; the mirror recovers.

A mirror that had nothing to write would look right even if it never wrote again. So a worker is killed while
Redis is away, and Redis must show that afterwards.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import closing

from labkit.client.client import Client
from labkit.core.errors import N_
from labkit.faults.case import case
from labkit.faults.test_bed import CannotTry, TestBed
from labkit.jobs import echo
from labkit.mirror.server import ping

ROUND_TRIPS = 60
HEALED_S = 1.0
VICTIM = "worker-3"


def redis_of(bed: TestBed) -> str:
    """Return the URL of the cluster's Redis. Raises CannotTry without one, as on Windows."""
    if bed.cluster.redis_url is None:
        raise CannotTry(N_("there is no Redis on this machine"))
    return bed.cluster.redis_url


def shown(url: str) -> dict[str, str]:
    """Return the status of each worker by ``HGETALL workers``; empty if Redis does not answer."""
    import redis

    from labkit.mirror.redis_client import open_client

    client = open_client(url, 0.25)
    try:
        rows = [json.loads(value) for value in client.hgetall("workers").values()]
    except redis.RedisError:
        return {}
    finally:
        client.close()
    return {row["id"]: row["state"] for row in rows}


def is_right(bed: TestBed, url: str) -> bool:
    """Return whether Redis shows the workers as the broker sees them now."""
    if (picture := bed.cluster.status()["broker"]) is None:
        return False
    living = {"ready": "up", "busy": "up"}  # these two may change between two questions
    real = {row["id"]: living.get(row["status"], row["status"]) for row in picture["workers"]}
    return real == {name: living.get(status, status) for name, status in shown(url).items()}


def round_trip_s(client: Client) -> float:
    """Return how long an empty task takes: the median of many, one after another."""
    took = []
    for number in range(ROUND_TRIPS):
        began = time.perf_counter()
        client.submit(echo, number).result(30)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def tasks_do_not_notice(bed: TestBed, client: Client, usual_s: float) -> None:
    """Claim that tasks take no longer than before while Redis is away."""
    began = time.monotonic()
    bed.judge.within(N_("a task takes {seconds} meanwhile"), round_trip_s(client), 2 * usual_s + 0.002, began)


def is_away(bed: TestBed, take_away: Callable[[str], float], bring_back: Callable[[str], float]) -> None:
    """Take Redis away under load, change what it should show, and bring it back.

    ``bring_back`` returns the instant from which Redis serves. Claims that tasks were unaffected, and that
    the mirror recovers.
    """
    url, client = redis_of(bed), bed.client()
    usual_s = round_trip_s(client)
    bed.work.sleepers(client, 40, 0.02)
    take_away("redis")
    bed.cluster.kill(VICTIM)
    tasks_do_not_notice(bed, client, usual_s)
    heals(bed, url, bring_back("redis"))
    bed.finish_work()


def heals(bed: TestBed, url: str, since: float) -> None:
    """Claim that the mirror is right again in time. ``since``: when Redis served again."""
    bed.wait_until(lambda: is_right(bed, url), N_("the picture was wrong for {seconds:g} s"))
    healed_s = time.monotonic() - since
    bed.judge.within(N_("picture right again after {seconds}"), healed_s, HEALED_S, since)
    bed.judge.recovered(healed_s)


@case(
    "redis-frozen",
    fault=N_("SIGSTOP of Redis, while a worker is killed; SIGCONT"),
    promise=N_("tasks take no longer; HGETALL workers is right within 1 s of its waking"),
    redis=True,
)
def redis_frozen(bed: TestBed) -> None:
    """Freeze Redis, change what it should show, wake it."""
    is_away(bed, bed.cluster.pause, bed.cluster.resume)


@case(
    "redis-flushed",
    fault=N_("FLUSHALL"),
    promise=N_("HGETALL workers is right again within 1 s"),
    redis=True,
)
def redis_flushed(bed: TestBed) -> None:
    """Delete everything in Redis while the cluster works."""
    url, client = redis_of(bed), bed.client()
    bed.wait_until(lambda: is_right(bed, url), N_("the picture was wrong for {seconds:g} s"))
    bed.work.sleepers(client, 60, 0.02)
    bed.wait_for_start()
    client.note("flush", "redis")
    from labkit.mirror.redis_client import open_client

    with closing(open_client(url, 1.0)) as redis_client:
        redis_client.flushall()
    heals(bed, url, time.monotonic())
    bed.finish_work()


@case(
    "redis-killed",
    fault=N_("kill -9 of Redis, while a worker is killed too; started again, empty"),
    promise=N_("tasks take no longer; HGETALL workers is right within 1 s of its serving"),
    redis=True,
)
def redis_killed(bed: TestBed) -> None:
    """Kill Redis, change what it should show, start it again."""

    def start(name: str) -> float:
        bed.cluster.start(name)
        bed.wait_until(lambda: ping(redis_of(bed)), N_("Redis did not serve within {seconds:g} s"))
        return time.monotonic()

    is_away(bed, bed.cluster.kill, start)
