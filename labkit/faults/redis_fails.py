"""Cases: Redis freezes, is flushed, is killed and started again. No task notices, and the picture heals.

That the picture is *right again* shows only if it had to change meanwhile: so a worker is killed while Redis
is away, and Redis has to show that.
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
    """Return where the cluster's Redis is. Raises CannotTry where there is none, as on Windows."""
    if bed.cluster.redis_url is None:
        raise CannotTry(N_("there is no Redis on this machine"))
    return bed.cluster.redis_url


def shown(url: str) -> dict[str, str]:
    """Return what ``HGETALL workers`` shows: the status of each worker; nothing if Redis does not answer."""
    import redis

    from labkit.mirror.redis_client import open_client

    client = open_client(url, 0.25)
    try:
        rows = [json.loads(value) for value in client.hgetall("workers").values()]
    except redis.RedisError:
        return {}
    finally:
        client.close()
    return {row["id"]: row["status"] for row in rows}


def is_right(bed: TestBed, url: str) -> bool:
    """Return whether Redis shows the workers as the broker sees them now."""
    if (picture := bed.cluster.status()["broker"]) is None:
        return False
    living = {"ready": "up", "busy": "up"}  # a worker may turn from one to the other between two questions
    real = {row["id"]: living.get(row["status"], row["status"]) for row in picture["workers"]}
    return real == {name: living.get(status, status) for name, status in shown(url).items()}


def round_trip_s(client: Client) -> float:
    """Return how long a task takes that does nothing: the median of many, one after the other."""
    took = []
    for number in range(ROUND_TRIPS):
        began = time.perf_counter()
        client.submit(echo, number).result(30)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def tasks_do_not_notice(bed: TestBed, client: Client, usual_s: float) -> None:
    """Claim that tasks take no longer than before, while Redis is away."""
    began = time.monotonic()
    bed.judge.within(N_("a task takes {seconds} meanwhile"), round_trip_s(client), 2 * usual_s + 0.002, began)


def is_away(bed: TestBed, take_away: Callable[[str], float], bring_back: Callable[[str], float]) -> None:
    """Take Redis away under work, change what it should show, and bring it back, which returns since when it
    serves; claim that no task noticed, and that the picture heals."""
    url, client = redis_of(bed), bed.client()
    usual_s = round_trip_s(client)
    bed.work.sleepers(client, 40, 0.02)
    take_away("redis")
    bed.cluster.kill(VICTIM)
    tasks_do_not_notice(bed, client, usual_s)
    heals(bed, url, bring_back("redis"))
    bed.finish_work()


def heals(bed: TestBed, url: str, since: float) -> None:
    """Claim that the picture is right again in time, from the instant on at which Redis served."""
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
    """Throw away all that Redis has, while the cluster works."""
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
