# rejected by: too-early
WORKERS = "workers"
DEAD = "dead"


def register(redis, worker, now):
    redis.hset(WORKERS, worker, now)


def heartbeat(redis, worker, now):
    if redis.hget(WORKERS, worker) in (None, DEAD):
        return False
    redis.hset(WORKERS, worker, now)
    return True


def leave(redis, worker):
    redis.hdel(WORKERS, worker)


def active(redis):
    return [worker for worker, heard in redis.hgetall(WORKERS).items() if heard != DEAD]


def health_check(redis, now, beat_s):
    heard_at = redis.hgetall(WORKERS)
    dead = [name for name, heard in heard_at.items() if heard != DEAD and now - float(heard) > beat_s]
    for worker in dead:
        redis.hset(WORKERS, worker, DEAD)
    return dead
