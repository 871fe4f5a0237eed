"""The settings with which the lab opens a redis-py client: it fails fast and never retries on its own.

redis-py retries by default: one HSET to a frozen server blocked its caller for 57 s. The mirror and the fault
suite decide themselves when to try again.

This module imports redis-py, which costs 0.1 s and 18 MiB. Import it only in a function that needs a client,
never in the supervisor or in the broker's loop.
"""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def open_client(url: str, timeout_s: float) -> redis.Redis:
    """Return a client with one connection; connecting and each wait for bytes take ``timeout_s`` at most.

    It connects at the first command. Raises ValueError if ``url`` is no Redis URL.
    """
    # RESP 2 and no driver info: connecting costs no round trips except for password and database.
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=1,
        protocol=2,
        driver_info=None,
    )
