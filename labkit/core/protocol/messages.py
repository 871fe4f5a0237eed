"""The wire format: every message that client, broker and worker exchange, and its bytes.

A ZeroMQ message is one *envelope* frame, followed by the payload frames that its records own::

    envelope  =  b"L" version record*
    record    =  kind(1) frames(2) length(4) body(length)        all integers big-endian
    body      =  fixed fields . string lengths . strings . tail

Several small records for one peer share an envelope when they are waiting anyway (*coalescing*); a record
with payload frames of its own travels alone, so that nothing small waits behind it. The broker reads
envelopes only: payload frames pass through it untouched, and nothing on the wire is ever unpickled.

Every kind of message is one ``NamedTuple`` here, and one row in ``KINDS``. PROTOCOL.md tells the same from
outside.

Guarantee: ``decode`` returns what ``encode`` was given, or raises ``ProtocolError``; no bytes make it raise
anything else.

Source: the numbered frames of the ZeroMQ guide's Majordomo pattern (RFC 7 and 18), packed into one header
frame because reading one frame costs a third of reading four.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from labkit.core.errors import N_, ProtocolError

new = tuple.__new__
"""Makes a NamedTuple of a tuple of its fields at a third of the price of calling its class: for what is made
for every task."""

VERSION = 1
MAGIC = b"L" + bytes([VERSION])

BULK_BYTES = 1 << 20
"""A message larger than this is announced with ``Bulk``: heartbeats behind it may be late."""
COALESCE_BYTES = 64 << 10
"""An envelope is closed when it has grown to this size; only a single record may be larger."""


HEADER_BYTES = 256 << 10
"""What all the rest of a message may add to its payload."""


class Payload(NamedTuple):
    """Arguments or a result as the codec made them: a small body and large frames that nobody copies."""

    body: bytes = b""
    frames: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of body and frames together."""
        return len(self.body) + sum(map(frame_size, self.frames)) if self.frames else len(self.body)


def frame_size(frame: Any) -> int:
    """Bytes in one payload frame: ``bytes``, ``memoryview`` or any object with the buffer interface."""
    return len(frame) if isinstance(frame, bytes) else memoryview(frame).nbytes


EMPTY = Payload()


# --- either way ---------------------------------------------------------------------------------------------


class Heartbeat(NamedTuple):
    """I live. Sent when a heartbeat period passed; any other message says the same."""


class Bulk(NamedTuple):
    """``size`` bytes follow in one message: be patient, my heartbeats queue behind it."""

    size: int


class Stale(NamedTuple):
    """The broker does not know this connection (any more): drop what you hold and say hello again."""


# --- client to broker ---------------------------------------------------------------------------------------


class ClientHello(NamedTuple):
    """First message of a client's connection; ``client`` is the same after a reconnect."""

    client: bytes  # 16 random bytes
    name: str


class Submit(NamedTuple):
    """Please run this task. Repeating it under the same id is harmless."""

    task: bytes  # 16 random bytes, chosen by the client
    budget_s: float  # the task's deadline, relative, so that clocks need not agree
    lease_s: float  # how long one attempt may run
    job: str  # name of the function, for accounts of work and for people
    needs: str  # capabilities, comma separated, sorted
    payload: Payload


class Cancel(NamedTuple):
    """Forget this task if it has not started; answered by ``CancelReply``."""

    task: bytes


class Note(NamedTuple):
    """Write into the history that a fault is about to be injected; ``Noted`` answers before it happens."""

    number: int
    fault: str
    target: str


class Query(NamedTuple):
    """Ask for the broker's own picture of the cluster; answered by ``Info``."""

    number: int


class ClientGoodbye(NamedTuple):
    """The client leaves on purpose: cancel what it has open."""


# --- broker to client ---------------------------------------------------------------------------------------


class ClientWelcome(NamedTuple):
    """Answer to ``ClientHello``. A new ``epoch`` means a new broker that knows none of the client's tasks."""

    epoch: bytes  # 8 random bytes per start of the broker
    heartbeat_s: float
    patience_s: float  # a broker silent for this long is gone
    max_tasks: int  # quota: open tasks of one client
    max_bytes: int


class Accepted(NamedTuple):
    """These tasks (16 bytes each) are the broker's responsibility now."""

    tasks: bytes


class Refused(NamedTuple):
    """BUSY: these tasks (16 bytes each) were not taken; try again after ``retry_after_s``."""

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
    """The broker's picture as UTF-8 JSON."""

    number: int
    json: bytes


# --- worker to broker ---------------------------------------------------------------------------------------


class WorkerHello(NamedTuple):
    """First message of a worker. ``instance`` is one per process, ``epoch`` fresh for every hello."""

    instance: bytes  # 8 random bytes
    epoch: bytes  # 8 random bytes
    slots: int
    pid: int
    worker: str
    capabilities: str  # comma separated, sorted; empty = everything


class Started(NamedTuple):
    """The attempt is running. With ``confirm`` it waits for ``Go``: the task may be a killer of workers."""

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
    """The worker gives the task back without having started it, by its own wish or because of a
    ``Revoke``."""

    task: bytes
    attempt: int


class Leaving(NamedTuple):
    """The worker drains: send nothing more."""


class WorkerGoodbye(NamedTuple):
    """The worker has finished what it held and goes."""


# --- broker to worker ---------------------------------------------------------------------------------------


class WorkerWelcome(NamedTuple):
    """Answer to ``WorkerHello`` of the same ``worker_epoch``."""

    broker_epoch: bytes
    worker_epoch: bytes
    heartbeat_s: float
    patience_s: float  # a broker silent for this long is gone


class WorkerRefused(NamedTuple):
    """This worker may not join (another one has its id)."""

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
    """Drop this attempt if it has not started. The worker answers in any case, if it has not done so yet."""

    task: bytes
    attempt: int


Message = Any  # one of the NamedTuples of this module

FAILURE_CODES = ("ERROR", "POISONED", "HUNG", "NO_WORKER", "DEADLINE")


class _Kind(NamedTuple):
    """How one message class becomes bytes: a struct of fixed fields and string lengths, then what follows."""

    number: int
    cls: type
    layout: struct.Struct
    fixed: int  # how many fields are in the struct as they are
    strings: int  # how many strings follow, each with a 2-byte length in the struct
    tail: str  # "" | "bytes" | "payload"


def _kind(number: int, cls: type, fixed: str = "", strings: int = 0, tail: str = "") -> _Kind:
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    return _Kind(
        number,
        cls,
        struct.Struct("!" + fixed + "H" * strings),
        len(fields) - strings - bool(tail),
        strings,
        tail,
    )


KINDS = (
    _kind(0x01, Heartbeat),
    _kind(0x02, Bulk, "Q"),
    _kind(0x03, Stale),
    _kind(0x10, ClientHello, "16s", strings=1),
    _kind(0x11, Submit, "16sdf", strings=2, tail="payload"),
    _kind(0x12, Cancel, "16s"),
    _kind(0x13, Note, "I", strings=2),
    _kind(0x14, Query, "I"),
    _kind(0x15, ClientGoodbye),
    _kind(0x20, ClientWelcome, "8sffIQ"),
    _kind(0x21, Accepted, "", tail="bytes"),
    _kind(0x22, Refused, "f", strings=1, tail="bytes"),
    _kind(0x23, Running, "16sI", strings=1),
    _kind(0x24, Result, "16sIf", strings=1, tail="payload"),
    _kind(0x25, Failed, "16sI", strings=3, tail="payload"),
    _kind(0x26, CancelReply, "16sB"),
    _kind(0x27, Noted, "I"),
    _kind(0x28, Info, "I", tail="bytes"),
    _kind(0x30, WorkerHello, "8s8sHI", strings=2),
    _kind(0x31, Started, "16sIB"),
    _kind(0x32, Done, "16sIf", tail="payload"),
    _kind(0x33, WorkerError, "16sIf", strings=2, tail="payload"),
    _kind(0x34, Returned, "16sI"),
    _kind(0x35, Leaving),
    _kind(0x36, WorkerGoodbye),
    _kind(0x40, WorkerWelcome, "8s8sff"),
    _kind(0x41, WorkerRefused, "", strings=1),
    _kind(0x42, Task, "16sIfB", tail="payload"),
    _kind(0x43, Go, "16sI"),
    _kind(0x44, Revoke, "16sI"),
)

FROM_CLIENT = frozenset({Heartbeat, Bulk, ClientHello, Submit, Cancel, Note, Query, ClientGoodbye})
FROM_WORKER = frozenset(
    {Heartbeat, Bulk, WorkerHello, Started, Done, WorkerError, Returned, Leaving, WorkerGoodbye}
)
TO_CLIENT = frozenset(
    {
        Heartbeat,
        Bulk,
        Stale,
        ClientWelcome,
        Accepted,
        Refused,
        Running,
        Result,
        Failed,
        CancelReply,
        Noted,
        Info,
    }
)
TO_WORKER = frozenset({Heartbeat, Bulk, Stale, WorkerWelcome, WorkerRefused, Task, Go, Revoke})

_BY_NUMBER = {kind.number: kind for kind in KINDS}
_RECORD = struct.Struct("!BHI")
_MAX_STRING = 0xFFFF
_NO_FRAMES: tuple[Any, ...] = ()


def encode(message: Message) -> tuple[bytes, tuple[Any, ...]]:
    """Return one record's bytes and the payload frames that it owns."""
    return _ENCODERS[type(message)](message)


def _encoder(kind: _Kind) -> Callable[[Message], tuple[bytes, tuple[Any, ...]]]:
    """Return the function that encodes this kind: record header and body in one go, because every task of a
    class passes through here four times."""
    number, fixed, last = kind.number, kind.fixed, kind.fixed + kind.strings
    layout = struct.Struct("!BHI" + kind.layout.format.lstrip("!"))
    head, pack = kind.layout.size, layout.pack
    if kind.tail == "payload" and not kind.strings:

        def encode_payload(message: Message) -> tuple[bytes, tuple[Any, ...]]:
            tail, frames = message[-1]
            return pack(number, len(frames), head + len(tail), *message[:fixed]) + tail, frames

        return encode_payload

    def encode_any(message: Message) -> tuple[bytes, tuple[Any, ...]]:
        tail: bytes = b""
        frames: tuple[Any, ...] = ()
        if kind.tail == "payload":
            tail, frames = message[-1]
        elif kind.tail:
            tail = message[-1]
        strings = [_utf8(text) for text in message[fixed:last]]
        tail = b"".join([*strings, tail])
        length = head + len(tail)
        return pack(number, len(frames), length, *message[:fixed], *map(len, strings)) + tail, frames

    return encode_any


def _utf8(text: str) -> bytes:
    """Any text as bytes that decode again: an exception may quote a file name that is no UTF-8, or a whole
    book."""
    data = text.encode("utf-8", "replace")
    return data if len(data) <= _MAX_STRING else data[:_MAX_STRING].decode("utf-8", "ignore").encode()


_ENCODERS = {kind.cls: _encoder(kind) for kind in KINDS}


def envelopes(messages: Iterable[Message]) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Yield (envelope, payload frames) for messages to one peer, in order, coalescing the small ones."""
    waiting = [MAGIC]
    size = 0
    for message in messages:
        record, frames = encode(message)
        if waiting[1:] and (frames or size + len(record) > COALESCE_BYTES):
            yield b"".join(waiting), ()
            waiting, size = [MAGIC], 0
        if frames:
            yield MAGIC + record, frames
        else:
            waiting.append(record)
            size += len(record)
    if waiting[1:]:
        yield b"".join(waiting), ()


def decode(
    envelope: bytes, frames: Sequence[Any] = (), allowed: frozenset[type] | None = None
) -> list[Message]:
    """Return the messages of one envelope; ``frames`` are the payload frames that came with it.

    ``allowed`` are the kinds that this peer may send. Raises ``ProtocolError`` for anything else than
    well-formed records that account for every byte and every frame.
    """
    if envelope[:2] != MAGIC:
        if envelope[:1] == MAGIC[:1]:
            raise ProtocolError(
                N_("protocol version {theirs}, this side speaks {ours}"),
                theirs=envelope[1:2].hex(),
                ours=VERSION,
            )
        raise ProtocolError(
            N_("not a labkit message: it starts with {start}"), start=bytes(envelope[:4]).hex()
        )
    messages: list[Message] = []
    position, end, taken = 2, len(envelope), 0
    alone = end > len(MAGIC) + COALESCE_BYTES
    try:
        while position < end:
            number, owned, length = _RECORD.unpack_from(envelope, position)
            kind = _BY_NUMBER[number]
            start = position + _RECORD.size
            position = start + length
            if position > end or taken + owned > len(frames) or (owned and kind.tail != "payload"):
                raise ProtocolError(
                    N_("{kind}: more bytes or frames announced than sent"), kind=kind.cls.__name__
                )
            if allowed is not None and kind.cls not in allowed:
                raise ProtocolError(N_("{kind}: this peer may not send it"), kind=kind.cls.__name__)
            if alone and position < end:  # 256 MB of heartbeats would become 38 million objects
                raise ProtocolError(N_("an envelope of {size} bytes with several records"), size=end)
            own = tuple(frames[taken : taken + owned]) if owned else _NO_FRAMES
            messages.append(_decode_body(kind, envelope, start, position, own))
            taken += owned
    except KeyError as error:
        raise ProtocolError(N_("unknown message kind {kind}"), kind=error.args[0]) from None
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(N_("malformed record: {why}"), why=str(error)) from None
    if taken != len(frames):
        raise ProtocolError(N_("{extra} frames belong to no record"), extra=len(frames) - taken)
    return messages


MAX_CACHED_TEXT = 256
"""Longer texts are not names; remembering thousands of them would cost hundreds of megabytes."""


@lru_cache(maxsize=4096)
def _text(encoded: bytes) -> str:
    """The same few names (jobs, workers) come again and again."""
    return encoded.decode("utf-8")


def _decode_body(kind: _Kind, envelope: bytes, start: int, end: int, frames: tuple[Any, ...]) -> Message:
    values = kind.layout.unpack_from(envelope, start)
    position = start + kind.layout.size
    if kind.strings:
        strings = []
        for length in values[kind.fixed :]:
            encoded = envelope[position : position + length]
            strings.append(_text(encoded) if length <= MAX_CACHED_TEXT else encoded.decode("utf-8"))
            position += length
        values = values[: kind.fixed] + tuple(strings)
    if position > end or (position < end and not kind.tail):
        raise ProtocolError(N_("{kind}: its length does not match its fields"), kind=kind.cls.__name__)
    if kind.tail == "payload":
        return new(kind.cls, (*values, new(Payload, (envelope[position:end], frames))))
    if kind.tail:
        return new(kind.cls, (*values, envelope[position:end]))
    return new(kind.cls, values)


def task_ids(joined: bytes) -> list[bytes]:
    """Split the concatenated ids of ``Accepted`` and ``Refused`` into ids of 16 bytes."""
    if len(joined) % 16:
        raise ProtocolError(N_("a list of task ids has {size} bytes, not a multiple of 16"), size=len(joined))
    return [joined[i : i + 16] for i in range(0, len(joined), 16)]
