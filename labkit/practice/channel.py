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


def send(pipe: BinaryIO, value: Any) -> None:
    """Write one value. Raises CannotTravel before anything is written, OSError if the other side is gone."""
    payload = encode_value(value)
    parts = [payload.body, *payload.frames]
    lengths = [memoryview(part).nbytes for part in parts]
    pipe.write(struct.pack(f"<{1 + len(parts)}Q", len(parts), *lengths))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Return the next value. Raises EOFError at the end of the pipe, ProtocolError for nonsense."""
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
