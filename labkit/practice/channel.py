"""Values over a pipe, between the judge and the learner's process.

A message is one value that labkit can serialize (`labkit.calls.serialization`): no pickle, because the judge
must not run code that the learner's process chose. Format: the number of parts and the length of each, 8
bytes little-endian, then the parts (body, frames).
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from labkit.calls.serialization import decode_value, encode_value
from labkit.core.errors import N_, ProtocolError
from labkit.core.protocol.messages import Payload

MOST_BYTES = 256 << 20
MOST_PARTS = 64
BROKEN = 87
"""Exit code of a learner's process that can no longer answer."""


def send(pipe: BinaryIO, value: Any) -> None:
    """Write one value. Raises CannotTravel before anything is written, OSError if the other side is gone."""
    write(pipe, encode(value))


def encode(value: Any) -> list[bytes]:
    """Return the bytes of one value, in pieces. Raises CannotTravel."""
    payload = encode_value(value)
    parts = [memoryview(part).cast("B") for part in (payload.body, *payload.frames)]
    return [struct.pack(f"<{1 + len(parts)}Q", len(parts), *map(len, parts)), *parts]  # type: ignore[list-item]


def write(pipe: BinaryIO, message: list[bytes]) -> None:
    """Write what ``encode`` returned. Raises OSError if the other side is gone."""
    for part in message:
        pipe.write(part)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Return the next value. Raises EOFError at the end of the pipe, ProtocolError for anything else."""
    (count,) = struct.unpack("<Q", _exactly(pipe, 8))
    if not 1 <= count <= MOST_PARTS:
        raise ProtocolError(N_("a message of {count} parts"), count=count)
    lengths = struct.unpack(f"<{count}Q", _exactly(pipe, 8 * count))
    if sum(lengths) > MOST_BYTES:
        raise ProtocolError(N_("a message of {bytes} bytes"), bytes=sum(lengths))
    body, *frames = (_exactly(pipe, length) for length in lengths)
    return decode_value(Payload(bytes(body), tuple(frames)))


def _exactly(pipe: BinaryIO, length: int) -> bytearray:
    data = bytearray()
    while len(data) < length:
        more = pipe.read(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data
