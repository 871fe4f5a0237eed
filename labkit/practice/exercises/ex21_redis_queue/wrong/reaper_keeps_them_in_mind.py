# rejected by: lost
QUEUE = "image_tasks"
RESULTS = "results"


def held_by(worker):
    return f"held:{worker}"


def enqueue_task(redis, task):
    redis.lpush(QUEUE, task)


def get_task(redis, worker, wait_s):
    return redis.blmove(QUEUE, held_by(worker), wait_s, "RIGHT", "LEFT")


def complete_task(redis, worker, task, result):
    redis.hset(RESULTS, task, result)
    redis.lrem(held_by(worker), 1, task)


def reap(redis, dead):
    tasks = redis.lrange(held_by(dead), 0, -1)
    redis.delete(held_by(dead))
    if tasks:
        redis.rpush(QUEUE, *tasks)


def work(redis, worker, compute, wait_s):
    while (task := get_task(redis, worker, wait_s)) is not None:
        complete_task(redis, worker, task, compute(task))
