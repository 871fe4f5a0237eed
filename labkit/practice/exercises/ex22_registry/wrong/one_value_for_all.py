# rejected by: wrong-active
import json


def read(redis):
    return json.loads(redis.get("workers") or "{}")


def write(redis, workers):
    redis.set("workers", json.dumps(workers))


def register(redis, worker, now):
    write(redis, {**read(redis), worker: now})


def heartbeat(redis, worker, now):
    workers = read(redis)
    if workers.get(worker) is None:
        return False
    write(redis, {**workers, worker: now})
    return True


def leave(redis, worker):
    workers = read(redis)
    workers.pop(worker)
    write(redis, workers)


def active(redis):
    return [worker for worker, heard in read(redis).items() if heard is not None]


def health_check(redis, now, beat_s):
    workers = read(redis)
    dead = [name for name, heard in workers.items() if heard is not None and now - heard > 4 * beat_s]
    if dead:
        write(redis, {**workers, **dict.fromkeys(dead)})
    return dead
