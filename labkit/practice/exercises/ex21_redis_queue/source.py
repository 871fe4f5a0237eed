"""{title}"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

QUEUE = "image_tasks"
RESULTS = "results"


def enqueue_task(redis: Any, task: str) -> None:
    redis.lpush(QUEUE, task)


# SOLUTION
def held_by(worker: str) -> str:
    return f"held:{worker}"


# STUB
# END
def get_task(redis: Any, worker: str, wait_s: float) -> str | None:
    # SOLUTION
    task: str | None = redis.blmove(QUEUE, held_by(worker), wait_s, "RIGHT", "LEFT")
    return task
    # STUB
    # answer = redis.brpop(QUEUE, wait_s)
    # return None if answer is None else answer[1]
    # END


def complete_task(redis: Any, worker: str, task: str, result: str) -> None:
    # SOLUTION
    with redis.pipeline(transaction=True) as both:
        both.hset(RESULTS, task, result)
        both.lrem(held_by(worker), 1, task)
        both.execute()
    # STUB
    # redis.hset(RESULTS, task, result)
    # END


def reap(redis: Any, dead: str) -> None:
    # SOLUTION
    while redis.lmove(held_by(dead), QUEUE, "LEFT", "RIGHT") is not None:
        pass
    # STUB
    # pass
    # END


def work(redis: Any, worker: str, compute: Callable[[str], str], wait_s: float) -> None:
    while (task := get_task(redis, worker, wait_s)) is not None:
        complete_task(redis, worker, task, compute(task))
