# rejected by: busier-worker
RESULTS = "results"


def queue_of(worker):
    return f"queue:{worker}"


def hand_of(worker):
    return f"hand:{worker}"


def get_task(redis, worker, wait_s):
    task = redis.blmove(queue_of(worker), hand_of(worker), wait_s, "RIGHT", "LEFT")
    return task


def complete_task(redis, worker, task, result):
    with redis.pipeline(transaction=True) as both:
        both.hset(RESULTS, task, result)
        both.lrem(hand_of(worker), 1, task)
        both.execute()


def least_busy(redis, workers):
    return min(workers, key=lambda worker: redis.llen(hand_of(worker)))


def assign(redis, task, workers):
    worker = least_busy(redis, workers)
    redis.lpush(queue_of(worker), task)
    return worker


def take_over(redis, dead, workers):
    for source in (hand_of(dead), queue_of(dead)):
        while redis.llen(source):
            redis.lmove(source, queue_of(least_busy(redis, workers)), "RIGHT", "LEFT")
