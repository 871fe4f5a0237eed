# rejected by: lost
QUEUE = "image_tasks"
RESULTS = "results"
IN_HAND = {}


def held_by(worker):
    return f"held:{worker}"


def enqueue_task(redis, task):
    redis.lpush(QUEUE, task)


def get_task(redis, worker, wait_s):
    answer = redis.brpop(QUEUE, wait_s)
    if answer is not None:
        IN_HAND.setdefault(worker, []).append(answer[1])
    return answer and answer[1]


def complete_task(redis, worker, task, result):
    redis.hset(RESULTS, task, result)
    IN_HAND[worker].remove(task)


def reap(redis, dead):
    for task in IN_HAND.pop(dead, []):
        redis.rpush(QUEUE, task)


def work(redis, worker, compute, wait_s):
    while (task := get_task(redis, worker, wait_s)) is not None:
        complete_task(redis, worker, task, compute(task))
