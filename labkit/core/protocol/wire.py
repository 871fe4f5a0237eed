"""The bytes of the protocol: encodes messages into envelopes and decodes them.

A ZeroMQ message is one *envelope* frame, followed by the payload frames that its records own::

    envelope  =  b"L" version record*
    record    =  kind(1) frames(2) length(4) body(length)        all integers big-endian
    body      =  fixed fields . string lengths . strings . tail

Small records for one peer that are ready at the same time share an envelope (*coalescing*). A record with
payload frames of its own travels alone, so that nothing small waits behind it. The broker reads envelopes
only: payload frames pass through it untouched, and nothing on the wire is ever unpickled.

Each kind of message has one row in ``KINDS``; the first digit of its number is its direction.

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
from labkit.core.protocol import messages as m

VERSION = 1
MAGIC = b"L" + bytes([VERSION])

COALESCE_BYTES = 64 << 10
"""An envelope is closed when it has grown to this size; only a single record may be larger."""
HEADER_BYTES = 256 << 10
"""How many bytes a message may have beyond its payload."""


class Kind(NamedTuple):
    """How one message class becomes bytes: a struct of fixed fields and string lengths, then the rest."""

    number: int
    cls: type
    layout: struct.Struct
    fixed: int  # how many fields are in the struct as they are
    strings: int  # how many strings follow, each with a 2-byte length in the struct
    tail: str  # "" | "bytes" | "payload"


def _kind(number: int, cls: type, fixed: str = "", strings: int = 0, tail: str = "") -> Kind:
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    return Kind(
        number,
        cls,
        struct.Struct("!" + fixed + "H" * strings),
        len(fields) - strings - bool(tail),
        strings,
        tail,
    )


KINDS = (
    _kind(0x01, m.Heartbeat),
    _kind(0x02, m.Bulk, "Q"),
    _kind(0x03, m.Stale),
    _kind(0x10, m.ClientHello, "16s", strings=1),
    _kind(0x11, m.Submit, "16sdf", strings=2, tail="payload"),
    _kind(0x12, m.Cancel, "16s"),
    _kind(0x13, m.Note, "I", strings=2),
    _kind(0x14, m.Query, "I"),
    _kind(0x15, m.ClientGoodbye),
    _kind(0x16, m.Waits, "16sI", tail="bytes"),
    _kind(0x20, m.ClientWelcome, "8sffIQ"),
    _kind(0x21, m.Accepted, "", tail="bytes"),
    _kind(0x22, m.Refused, "f", strings=1, tail="bytes"),
    _kind(0x23, m.Running, "16sI", strings=1),
    _kind(0x24, m.Result, "16sIf", strings=1, tail="payload"),
    _kind(0x25, m.Failed, "16sI", strings=3, tail="payload"),
    _kind(0x26, m.CancelReply, "16sB"),
    _kind(0x27, m.Noted, "I"),
    _kind(0x28, m.Info, "I", tail="bytes"),
    _kind(0x30, m.WorkerHello, "8s8sHI", strings=2),
    _kind(0x31, m.Started, "16sIB"),
    _kind(0x32, m.Done, "16sIf", tail="payload"),
    _kind(0x33, m.WorkerError, "16sIf", strings=2, tail="payload"),
    _kind(0x34, m.Returned, "16sI"),
    _kind(0x35, m.Leaving),
    _kind(0x36, m.WorkerGoodbye),
    _kind(0x40, m.WorkerWelcome, "8s8sff"),
    _kind(0x41, m.WorkerRefused, "", strings=1),
    _kind(0x42, m.Task, "16sIfB", tail="payload"),
    _kind(0x43, m.Go, "16sI"),
    _kind(0x44, m.Revoke, "16sI"),
)

_BY_NUMBER = {kind.number: kind for kind in KINDS}
_RECORD = struct.Struct("!BHI")
_MAX_STRING = 0xFFFF
_NO_FRAMES: tuple[Any, ...] = ()

Record = tuple[bytes, tuple[Any, ...]]
"""One record's bytes, and the payload frames that it owns."""


def encode(message: m.Message) -> Record:
    """Return one record's bytes and the payload frames that it owns."""
    return _ENCODERS[type(message)](message)


def _encoder(kind: Kind) -> Callable[[tuple[Any, ...]], Record]:
    """Return the function that encodes this kind.

    It packs record header and body in one step, because every task of a class passes through here four times.
    """
    number, fixed, last = kind.number, kind.fixed, kind.fixed + kind.strings
    layout = struct.Struct("!BHI" + kind.layout.format.lstrip("!"))
    head, pack = kind.layout.size, layout.pack
    if kind.tail == "payload" and not kind.strings:

        def encode_payload(message: tuple[Any, ...]) -> Record:
            tail, frames = message[-1]
            return pack(number, len(frames), head + len(tail), *message[:fixed]) + tail, frames

        return encode_payload

    def encode_any(message: tuple[Any, ...]) -> Record:
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
    """Return any text as bytes that decode again, cut to the longest string that the format allows.

    An exception may quote a file name that is not UTF-8, or a whole book.
    """
    data = text.encode("utf-8", "replace")
    return data if len(data) <= _MAX_STRING else data[:_MAX_STRING].decode("utf-8", "ignore").encode()


_ENCODERS: dict[type, Callable[[tuple[Any, ...]], Record]] = {kind.cls: _encoder(kind) for kind in KINDS}


def envelopes(messages: Iterable[m.Message]) -> Iterator[Record]:
    """Yield (envelope, payload frames) for messages to one peer, in order, coalescing the small ones."""
    waiting = [MAGIC]
    size = 0
    for message in messages:
        record, frames = encode(message)
        alone = bool(frames) or type(message) is m.Waits  # a broker that does not know the kind drops only it
        if waiting[1:] and (alone or size + len(record) > COALESCE_BYTES):
            yield b"".join(waiting), ()
            waiting, size = [MAGIC], 0
        if alone:
            yield MAGIC + record, frames
        else:
            waiting.append(record)
            size += len(record)
    if waiting[1:]:
        yield b"".join(waiting), ()


def decode(
    envelope: bytes, frames: Sequence[Any] = (), allowed: frozenset[type] | None = None
) -> list[m.Message]:
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
    messages: list[m.Message] = []
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
"""Longer texts are not names; caching thousands of them would cost hundreds of megabytes."""


@lru_cache(maxsize=4096)
def _text(encoded: bytes) -> str:
    """Decode a text; the cache pays because the same few names (jobs, workers) recur."""
    return encoded.decode("utf-8")


def _decode_body(kind: Kind, envelope: bytes, start: int, end: int, frames: tuple[Any, ...]) -> m.Message:
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
        return m.new(kind.cls, (*values, m.new(m.Payload, (envelope[position:end], frames))))
    if kind.tail:
        return m.new(kind.cls, (*values, envelope[position:end]))
    return m.new(kind.cls, values)
