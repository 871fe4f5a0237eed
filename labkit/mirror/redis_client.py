"""The settings with which the lab opens a redis-py client: it fails fast and never retries on its own.

redis-py retries by default: one HSET to a frozen server blocked its caller for 57 s. The mirror and the fault
suite decide themselves when to try again.

This module imports redis-py, which costs 0.1 s and 18 MiB. Import it only in a function that needs a client,
never in the supervisor or in the broker's loop.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from labkit.support.redis_url import RedisUrl, parse


def open_client(url: str, timeout_s: float, decode_responses: bool = False) -> redis.Redis:
    """Return a client with one connection; connecting and each wait for bytes take ``timeout_s`` at most.

    With ``decode_responses`` replies are text, otherwise bytes.

    It connects at the first command. Raises SettingsError if ``url`` is no Redis URL.
    """
    parsed = parse(url)
    # RESP 2 and no driver info: connecting costs no round trips except for password and database.
    pool = redis.ConnectionPool(
        connection_class=connection_class(parsed),
        **parsed.options(),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=1,
        decode_responses=decode_responses,
        protocol=2,
        driver_info=None,
    )
    return redis.Redis.from_pool(pool)


def connection_class(url: RedisUrl) -> type[Any]:
    """Return redis-py's class of connections for a URL."""
    if url.address.path:
        return UnixDomainSocketConnection
    return SSLConnection if url.scheme == "rediss" else Connection
