# rejected by: lost
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
    with redis.pipeline(transaction=True) as together:
        for worker in workers:
            together.llen(queue_of(worker))
            together.llen(hand_of(worker))
        lengths = together.execute()
    held = {worker: lengths[2 * n] + lengths[2 * n + 1] for n, worker in enumerate(workers)}
    return min(workers, key=lambda worker: held[worker])


def assign(redis, task, workers):
    worker = least_busy(redis, workers)
    redis.lpush(queue_of(worker), task)
    return worker


def take_over(redis, dead, workers):
    pass
