"""The vocabulary of the protocol: every message that client, broker and worker exchange.

Each kind of message is one ``NamedTuple``; ``wire`` turns it into bytes and back. PROTOCOL.md describes the
same protocol from outside.

Rules:

* The four unions at the end list which kinds may travel in which direction; a receiver refuses all others.
* Ids, epochs and instances are random bytes; names are text.
* All durations are in seconds, all sizes in bytes. No message contains a time of day: the clocks of two
  machines need not agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from labkit.core.errors import N_, ProtocolError

new = tuple.__new__
"""Makes a NamedTuple from a tuple of its fields at a third of the cost of calling its class; used for
everything that is made once per task."""

BULK_BYTES = 1 << 20
"""A message larger than this is announced with ``Bulk``: heartbeats behind it may be late."""


class Payload(NamedTuple):
    """Serialized arguments or a serialized result: a small body, and large frames that are never copied."""

    body: bytes = b""
    frames: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of body and frames together."""
        return len(self.body) + sum(map(frame_size, self.frames)) if self.frames else len(self.body)


def frame_size(frame: Any) -> int:
    """Return the bytes in one payload frame: ``bytes``, ``memoryview`` or any other buffer."""
    return len(frame) if isinstance(frame, bytes) else memoryview(frame).nbytes


EMPTY = Payload()


# --- either way ---------------------------------------------------------------------------------------------


class Heartbeat(NamedTuple):
    """The sender lives. Sent when a heartbeat period has passed without any other message."""


class Bulk(NamedTuple):
    """``size`` bytes follow in one message; the sender's heartbeats wait behind it."""

    size: int


class Stale(NamedTuple):
    """The broker does not know this connection, or no longer: drop what you hold and say hello again."""


# --- client to broker ---------------------------------------------------------------------------------------


class ClientHello(NamedTuple):
    """First message on a client's connection; ``client`` is the same after a reconnect."""

    client: bytes  # 16 random bytes
    name: str


class Submit(NamedTuple):
    """Please run this task. Repeating it under the same id is harmless."""

    task: bytes  # 16 random bytes, chosen by the client
    budget_s: float  # the task's deadline, relative, so that clocks need not agree
    lease_s: float  # how long one attempt may run
    job: str  # name of the function, for expected times and for people
    needs: str  # capabilities, comma separated, sorted
    payload: Payload


class Cancel(NamedTuple):
    """Cancel this task if it has not started; answered by ``CancelReply``."""

    task: bytes


class Note(NamedTuple):
    """Record in the history that a fault is about to be injected; answered by ``Noted``."""

    number: int
    fault: str
    target: str


class Query(NamedTuple):
    """Ask for the broker's view of the cluster; answered by ``Info``."""

    number: int


class Waits(NamedTuple):
    """The running ``attempt`` of ``task`` waits, without a time limit, until one of the tasks ``awaited`` (16
    bytes each) has an outcome; none: it no longer waits. Sent by a client that a task has opened."""

    task: bytes
    attempt: int
    awaited: bytes


class ClientGoodbye(NamedTuple):
    """The client leaves on purpose: cancel its open tasks."""


# --- broker to client ---------------------------------------------------------------------------------------


class ClientWelcome(NamedTuple):
    """Answer to ``ClientHello``. A new ``epoch`` is a new broker, which knows none of the client's tasks."""

    epoch: bytes  # 8 random bytes per start of the broker
    heartbeat_s: float
    patience_s: float  # a broker silent for this long is gone
    max_tasks: int  # quota: open tasks of one client
    max_bytes: int


class Accepted(NamedTuple):
    """These tasks (16 bytes each) are the broker's responsibility now."""

    tasks: bytes


class Refused(NamedTuple):
    """BUSY: these tasks (16 bytes each) were not accepted; try again after ``retry_after_s``."""

    retry_after_s: float
    reason: str
    tasks: bytes


class Running(NamedTuple):
    """The task has started on a worker; sent only when it runs long enough to matter."""

    task: bytes
    attempt: int
    worker: str


class Result(NamedTuple):
    """The task's one visible result."""

    task: bytes
    attempt: int
    compute_s: float
    worker: str
    payload: Payload


class Failed(NamedTuple):
    """The task's one visible failure; payload.body is the traceback (UTF-8), if there is one."""

    task: bytes
    attempt: int
    code: str  # one of FAILURE_CODES
    worker: str
    error: str
    payload: Payload


class CancelReply(NamedTuple):
    """``done`` is 1 if the task will have no outcome but *cancelled*, 0 if it had started or is unknown."""

    task: bytes
    done: int


class Noted(NamedTuple):
    """The note is in the history."""

    number: int


class Info(NamedTuple):
    """The broker's view of the cluster as UTF-8 JSON."""

    number: int
    json: bytes


# --- worker to broker ---------------------------------------------------------------------------------------


class WorkerHello(NamedTuple):
    """First message of a worker. ``instance`` is one per process; ``epoch`` is fresh for every hello."""

    instance: bytes  # 8 random bytes
    epoch: bytes  # 8 random bytes
    slots: int
    pid: int
    worker: str
    capabilities: str  # comma separated, sorted; empty = everything


class Started(NamedTuple):
    """The attempt is running. With ``confirm`` it waits for ``Go``, because the task may crash its worker."""

    task: bytes
    attempt: int
    confirm: int


class Done(NamedTuple):
    """The attempt's result; it implies ``Started``."""

    task: bytes
    attempt: int
    compute_s: float
    payload: Payload


class WorkerError(NamedTuple):
    """The attempt ended without a result: ``code`` ERROR (it raised) or HUNG (it outran its lease)."""

    task: bytes
    attempt: int
    compute_s: float
    code: str
    error: str
    payload: Payload


class Returned(NamedTuple):
    """The worker returns the task without having started it: it leaves, or answers a ``Revoke``."""

    task: bytes
    attempt: int


class Leaving(NamedTuple):
    """The worker drains: send it no more tasks."""


class WorkerGoodbye(NamedTuple):
    """The worker holds nothing any more and leaves."""


# --- broker to worker ---------------------------------------------------------------------------------------


class WorkerWelcome(NamedTuple):
    """Answer to ``WorkerHello`` of the same ``worker_epoch``."""

    broker_epoch: bytes
    worker_epoch: bytes
    heartbeat_s: float
    patience_s: float  # a broker silent for this long is gone


class WorkerRefused(NamedTuple):
    """This worker may not join; for example, another one has its id."""

    reason: str


class Task(NamedTuple):
    """Run this attempt. ``careful``: announce the start and wait for ``Go`` before running it."""

    task: bytes
    attempt: int
    lease_s: float
    careful: int
    payload: Payload


class Go(NamedTuple):
    """The announced start is on record: run it."""

    task: bytes
    attempt: int


class Revoke(NamedTuple):
    """Drop this attempt if it has not started. The worker answers in any case, unless it has done so."""

    task: bytes
    attempt: int


# --- which kinds may travel in which direction --------------------------------------------------------------

ClientToBroker = Heartbeat | Bulk | ClientHello | Submit | Cancel | Note | Query | Waits | ClientGoodbye
WorkerToBroker = (
    Heartbeat | Bulk | WorkerHello | Started | Done | WorkerError | Returned | Leaving | WorkerGoodbye
)
BrokerToClient = (
    Heartbeat
    | Bulk
    | Stale
    | ClientWelcome
    | Accepted
    | Refused
    | Running
    | Result
    | Failed
    | CancelReply
    | Noted
    | Info
)
BrokerToWorker = Heartbeat | Bulk | Stale | WorkerWelcome | WorkerRefused | Task | Go | Revoke
Message = ClientToBroker | WorkerToBroker | BrokerToClient | BrokerToWorker

FROM_CLIENT = frozenset[type](get_args(ClientToBroker))
FROM_WORKER = frozenset[type](get_args(WorkerToBroker))
TO_CLIENT = frozenset[type](get_args(BrokerToClient))
TO_WORKER = frozenset[type](get_args(BrokerToWorker))

FAILURE_CODES = ("ERROR", "POISONED", "HUNG", "NO_WORKER", "DEADLINE", "DEADLOCK")


def capabilities(listed: str) -> frozenset[str]:
    """Return the set that ``Submit.needs`` or ``WorkerHello.capabilities`` lists; empty for empty text."""
    return frozenset(listed.split(",")) if listed else _NO_CAPABILITIES


_NO_CAPABILITIES: frozenset[str] = frozenset()


def task_ids(joined: bytes) -> list[bytes]:
    """Split the concatenated ids of ``Accepted`` and ``Refused`` into ids of 16 bytes."""
    if len(joined) % 16:
        raise ProtocolError(N_("a list of task ids has {size} bytes, not a multiple of 16"), size=len(joined))
    return [joined[i : i + 16] for i in range(0, len(joined), 16)]
