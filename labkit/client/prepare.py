"""Makes a call ready to travel: its name, its needs, its encoded arguments, its limits.

This runs in the user's thread, so that a call that cannot travel fails at once and at the right line.
"""

from __future__ import annotations

import numbers
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from labkit.calls import registry, serialization
from labkit.calls.chunks import Chunk
from labkit.calls.refusals import TooLarge
from labkit.core.errors import N_, CannotTravel, InvalidInput
from labkit.core.peers.client_events import Call
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

MAX_SECONDS = 1e9


def prepare_call(
    rules: Rules,
    function: Callable[..., Any] | str,
    args: Iterable[Any],
    kwargs: dict[str, Any],
    deadline_s: float | None = None,
    lease_s: float | None = None,
) -> Call:
    """Return a call that is encoded and ready to be submitted once.

    Raises ``CannotTravel`` for a function or arguments that cannot be sent, and ``InvalidInput`` for a time
    that is not a number of seconds.
    """
    args = tuple(args)
    name = function if isinstance(function, str) else registry.name_of(function)
    needs = () if isinstance(function, str) else registry.needs_of(function, args, kwargs)
    chunk = len(args) == 2 and type(args[1]) is Chunk
    job = args[0] if chunk else name
    limit = min(rules.max_message_bytes, rules.max_client_bytes)
    try:
        version = "" if isinstance(function, str) else registry.version_of(job)
        payload = serialization.encode_call(name, args, kwargs, version=version, limit_bytes=limit)
    except TooLarge as error:
        raise CannotTravel(
            N_(
                "{job}: its arguments are {size} bytes or more ({where}); {limit} bytes can travel; "
                "send them in parts"
            ),
            job=job,
            size=error.params["size"],
            where=error.params["where"],
            limit=limit,
        ) from None
    size = payload.size
    if size > limit or len(payload.frames) > rules.max_frames:
        raise CannotTravel(
            N_(
                "{job}: its arguments are {size} bytes (arrays: {frames}); "
                "{limit} bytes and {max} arrays can travel"
            ),
            job=job,
            size=size,
            frames=len(payload.frames),
            limit=limit,
            max=rules.max_frames,
        )
    budget_s = rules.task_deadline_s if deadline_s is None else _seconds("deadline_s", deadline_s)
    lease = 0.0 if lease_s is None else _seconds("lease_s", lease_s)
    deadline = time.monotonic() + budget_s
    sorted_needs = ",".join(sorted(needs)) if needs else ""
    return m.new(Call, (os.urandom(16), deadline, lease, job, sorted_needs, payload, size))


def _seconds(name: str, given: float) -> float:
    """Return ``given`` as a float, checked here because the I/O thread could not raise it to the caller."""
    value: Any = given
    if not isinstance(given, numbers.Real) or not 0 < value <= MAX_SECONDS:
        raise InvalidInput(
            N_("{name}={value!r}: a number of seconds is expected, more than 0 and at most {most:g}"),
            name=name,
            value=value,
            most=MAX_SECONDS,
        )
    return float(value)
