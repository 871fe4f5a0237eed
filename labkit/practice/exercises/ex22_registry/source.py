"""{title}"""

from __future__ import annotations

from typing import Any

# SOLUTION
WORKERS = "workers"
DEAD = "dead"
# STUB
# heard_at: dict[str, float] = {}
# END


def register(redis: Any, worker: str, now: float) -> None:
    # SOLUTION
    redis.hset(WORKERS, worker, now)
    # STUB
    # heard_at[worker] = now
    # END


def heartbeat(redis: Any, worker: str, now: float) -> bool:
    # SOLUTION
    if redis.hget(WORKERS, worker) in (None, DEAD):
        return False
    redis.hset(WORKERS, worker, now)
    return True
    # STUB
    # heard_at[worker] = now
    # return True
    # END


def leave(redis: Any, worker: str) -> None:
    # SOLUTION
    redis.hdel(WORKERS, worker)
    # STUB
    # del heard_at[worker]
    # END


def active(redis: Any) -> list[str]:
    # SOLUTION
    return [worker for worker, heard in redis.hgetall(WORKERS).items() if heard != DEAD]
    # STUB
    # return list(heard_at)
    # END


def health_check(redis: Any, now: float, beat_s: float) -> list[str]:
    # SOLUTION
    dead = [
        worker
        for worker, heard in redis.hgetall(WORKERS).items()
        if heard != DEAD and now - float(heard) > 4 * beat_s
    ]
    for worker in dead:
        redis.hset(WORKERS, worker, DEAD)
    return dead
    # STUB
    # return [worker for worker, heard in heard_at.items() if now - heard > beat_s]
    # END
