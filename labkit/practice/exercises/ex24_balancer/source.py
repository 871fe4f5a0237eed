"""{title}"""

from __future__ import annotations

from typing import Any

RESULTS = "results"


def queue_of(worker: str) -> str:
    return f"queue:{worker}"


def hand_of(worker: str) -> str:
    return f"hand:{worker}"


def get_task(redis: Any, worker: str, wait_s: float) -> str | None:
    task: str | None = redis.blmove(queue_of(worker), hand_of(worker), wait_s, "RIGHT", "LEFT")
    return task


def complete_task(redis: Any, worker: str, task: str, result: str) -> None:
    with redis.pipeline(transaction=True) as both:
        both.hset(RESULTS, task, result)
        both.lrem(hand_of(worker), 1, task)
        both.execute()


def least_busy(redis: Any, workers: list[str]) -> str:
    # SOLUTION
    with redis.pipeline(transaction=True) as together:
        for worker in workers:
            together.llen(queue_of(worker))
            together.llen(hand_of(worker))
        lengths = together.execute()
    held = {worker: lengths[2 * n] + lengths[2 * n + 1] for n, worker in enumerate(workers)}
    return min(workers, key=lambda worker: held[worker])
    # STUB
    # return min(workers, key=lambda worker: redis.llen(queue_of(worker)))
    # END


def assign(redis: Any, task: str, workers: list[str]) -> str:
    worker = least_busy(redis, workers)
    redis.lpush(queue_of(worker), task)
    return worker


def take_over(redis: Any, dead: str, workers: list[str]) -> None:
    # SOLUTION
    for source in (hand_of(dead), queue_of(dead)):
        while redis.llen(source):
            redis.lmove(source, queue_of(least_busy(redis, workers)), "RIGHT", "LEFT")
    # STUB
    # pass
    # END
