"""One event of a cluster's life: its shape, its kinds, and its line of JSON.

The broker, the simulator and the fault injector emit these events; charts, ledger, dashboard and checker
read nothing else. A recorded run is a text file with one event a line, in the order in which they happened:

    {"at":12.004518,"event":"dispatched","task":"9f…","attempt":1,"worker":"worker-2"}

Rules:

* ``at`` is the broker's monotonic clock in seconds, written to the microsecond. Only differences have a
  meaning.
* Empty fields are left out. The keys of ``detail`` stand beside the event's own fields and may not have their
  names.
* A kind that a reader does not know is data for a newer reader: it is kept, never an error.

Guarantee: ``decode_event(encode_event(event))`` is the same event, up to half a microsecond in ``at`` and
to what JSON can express in ``detail`` (a tuple comes back as a list, a set as a sorted list, a float that is
not finite as ``None``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quote
from math import isfinite, nan
from typing import Any, Final, NamedTuple

from labkit.core.errors import N_, InvariantBroken, ProtocolError

# --- what may happen to a task (detail keys in brackets) ----------------------------------------------------

SUBMITTED: Final = "submitted"
"""A client's task was accepted [job, client, bytes, needs]."""
DISPATCHED: Final = "dispatched"
"""An attempt was sent to a worker."""
STARTED: Final = "started"
"""The worker reported that it is computing the attempt."""
DONE: Final = "done"
"""The first valid result arrived and became the task's outcome [compute_s, bytes]."""
FAILED: Final = "failed"
"""The task's outcome is a named error [code, error]."""
REQUEUED: Final = "requeued"
"""The attempt's worker was lost or returned it; the task is first in the queue again [cause]. With [wait_s]
no worker gets it yet: an earlier worker fell silent with it, too; or, with [crashes], it is not clear whether
workers crash without it, too."""
POISONED: Final = "poisoned"
"""The task was running in too many crashed workers; a ``failed`` follows [crashes]."""
CANCELLED: Final = "cancelled"
"""The client cancelled it, or is gone [cause]."""
DUPLICATE: Final = "duplicate"
"""A second or late result arrived; it was counted and dropped."""
REJECTED: Final = "rejected"
"""A submission was refused because the broker is full; the client tries again later [reason]."""

# --- what may happen to a worker ----------------------------------------------------------------------------

JOINED: Final = "joined"
"""A worker said hello and was accepted [epoch, slots, capabilities, pid]."""
SUSPECT: Final = "suspect"
"""It has been silent for a while and gets no new work."""
ALIVE: Final = "alive"
"""A suspect was heard again."""
DRAINING: Final = "draining"
"""It finishes the tasks that it holds and gets no new ones."""
LOST: Final = "lost"
"""It counts as dead; its tasks are requeued [cause: closed, silent, lease or rejoined]."""
LEFT: Final = "left"
"""It said goodbye. What it still held (its time to drain was over, a task hung) is requeued as ``left``."""
REFUSED: Final = "refused"
"""A worker's hello was not accepted [reason]."""

# --- what may happen to the rest ----------------------------------------------------------------------------

BROKER_STARTED: Final = "broker_started"
"""A broker started, without any knowledge of its predecessor's tasks [epoch, wall, policy]."""
BROKER_STOPPED: Final = "broker_stopped"
POLICY_ERROR: Final = "policy_error"
"""A learner's policy failed; least_busy chose in its place [error]."""
FAULT: Final = "fault"
"""A target is about to be harmed or healed on purpose [fault: kill, pause, resume, stop, start …; target]."""
GAP: Final = "gap"
"""The recorder could not keep up and left out this many events [missing]."""

TASK_KINDS: Final = frozenset(
    {SUBMITTED, DISPATCHED, STARTED, DONE, FAILED, REQUEUED, POISONED, CANCELLED, DUPLICATE, REJECTED}
)
WORKER_KINDS: Final = frozenset({JOINED, SUSPECT, ALIVE, DRAINING, LOST, LEFT, REFUSED})
KINDS: Final = TASK_KINDS | WORKER_KINDS | {BROKER_STARTED, BROKER_STOPPED, POLICY_ERROR, FAULT, GAP}
OUTCOMES: Final = frozenset({DONE, FAILED, CANCELLED})
"""The kinds that end a task. Each task ends in exactly one of them."""

_ENVELOPE: Final = frozenset({"at", "event", "task", "attempt", "worker"})
NO_DETAIL: Final[Mapping[str, Any]] = {}
"""The detail of all events without one; never change it."""


class Event(NamedTuple):
    """One thing that happened, at the broker's monotonic second ``at``.

    ``task`` is 32 hex digits or empty, ``attempt`` counts from 1 (0: not about an attempt), ``worker`` is a
    worker's id or empty, ``detail`` holds what this kind adds. Read ``detail``, never change it: events
    without detail share one.
    """

    at: float
    kind: str
    task: str = ""
    attempt: int = 0
    worker: str = ""
    detail: Mapping[str, Any] = NO_DETAIL


def encode_event(event: Event) -> str:
    """Return the event as one line of ASCII JSON, without the line's end.

    Raises InvariantBroken if a key of ``detail`` has the name of one of the event's own fields.
    """
    return encode_events((event,))


def encode_events(events: Iterable[Event]) -> str:
    """Return a batch of events as lines of ASCII JSON, without the last line's end; see `encode_event`.

    The lines are built by hand because a broker writes a hundred thousand of them per second: this takes a
    third of the time of ``json.dumps``, and a sixth for the three kinds that every task has. All events of
    one turn of the broker's loop have the same instant, which is formatted once.
    """
    lines: list[str] = []
    written: float | None = None
    begin = ""
    for event in events:
        if event.at is not written:
            written = event.at
            begin = f'{{"at":{written:.6f},"event":'
        lines.append(_WRITERS.get(event.kind, _any)(begin, event))
    return "\n".join(lines)


def _any(begin: str, event: Event) -> str:
    _, kind, task, attempt, worker, detail = event
    line = begin + _quote(kind)
    if task:
        line += f',"task":{_quote(task)}'
    if attempt:
        line += f',"attempt":{attempt}'
    if worker:
        line += f',"worker":{_quote(worker)}'
    return line + _detail(kind, detail) + "}" if detail else line + "}"


def _submitted(begin: str, event: Event) -> str:
    _, _, task, attempt, worker, detail = event
    job, client, size = detail.get("job"), detail.get("client"), detail.get("bytes")
    if len(detail) != 3 or type(job) is not str or type(client) is not str or type(size) is not int:
        return _any(begin, event)
    if attempt or worker or not task:
        return _any(begin, event)
    line = f'{begin}"submitted","task":{_quote(task)},"job":{_quote(job)}'
    return f'{line},"client":{_quote(client)},"bytes":{size}}}'


def _dispatched(begin: str, event: Event) -> str:
    _, _, task, attempt, worker, detail = event
    if detail or not (task and attempt and worker):
        return _any(begin, event)
    return f'{begin}"dispatched","task":{_quote(task)},"attempt":{attempt},"worker":{_quote(worker)}}}'


def _done(begin: str, event: Event) -> str:
    _, _, task, attempt, worker, detail = event
    compute_s, size = detail.get("compute_s"), detail.get("bytes")
    if len(detail) != 2 or type(compute_s) is not float or not isfinite(compute_s) or type(size) is not int:
        return _any(begin, event)
    if not (task and attempt and worker):
        return _any(begin, event)
    line = f'{begin}"done","task":{_quote(task)},"attempt":{attempt},"worker":{_quote(worker)}'
    return f'{line},"compute_s":{compute_s!r},"bytes":{size}}}'


_WRITERS: Final = {SUBMITTED: _submitted, DISPATCHED: _dispatched, DONE: _done}
"""Fast writers for the kinds that every task has; ``_any`` writes the same line for any event."""


def _detail(kind: str, detail: Mapping[str, Any]) -> str:
    line = ""
    for key, value in detail.items():
        of = type(value)
        if of is int:
            line += f"{_key(kind, key)}{value}"
        elif of is str:
            line += f"{_key(kind, key)}{_quote(value)}"
        elif of is float and isfinite(value):
            line += f"{_key(kind, key)}{value!r}"
        else:
            line += f"{_key(kind, key)}{_encode(_plain(value))}"
    return line


@lru_cache(maxsize=4096)
def _key(kind: str, key: str) -> str:
    if key in _ENVELOPE:
        raise InvariantBroken(
            N_("event {kind!r} has a detail named like an event's own field: {key!r}"), kind=kind, key=key
        )
    return f",{_quote(key)}:"


def decode_event(line: str) -> Event:
    """Return the event that a line of JSON describes. Raises ProtocolError for anything else."""
    try:
        fields = _decode(line)
        at = fields.pop("at")
        kind = fields.pop("event")
        task = fields.pop("task", "")
        attempt = fields.pop("attempt", 0)
        worker = fields.pop("worker", "")
        seconds = float(at) if type(at) in (float, int) else nan  # not float("1.0") and not float(True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        # RecursionError: deeply nested JSON raises that and not ValueError.
        raise ProtocolError(
            N_("this is not an event: {line!r} ({error})"),
            line=line[:200],
            error=f"{type(error).__name__}: {error}"[:200],
        ) from error
    if not (
        isfinite(seconds)
        and type(kind) is str
        and kind
        and type(task) is str
        and type(worker) is str
        and type(attempt) is int
        and attempt >= 0
    ):
        raise ProtocolError(
            N_("this is not an event: {line!r} ({error})"),
            line=line[:200],
            error="a field has the wrong type or value",
        )
    return Event(seconds, kind, task, attempt, worker, fields)


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can express it; any other object becomes its ``str``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, AbstractSet):
        return sorted((_plain(inner) for inner in value), key=str)
    return str(value)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


# Made once: json.dumps and json.loads build a new coder for every call with options.
_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decode: Final = json.JSONDecoder(parse_constant=_refuse).decode
