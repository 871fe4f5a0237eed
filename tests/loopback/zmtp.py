"""ZMTP 3 by hand, as far as attacks need it: a peer that knows the secret, and then keeps to nothing."""

from __future__ import annotations

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f"
PLAIN = GREETING + b"\x03\x00" + b"PLAIN".ljust(20, b"\0") + b"\0" + bytes(31)
NULL = GREETING + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
CURVE = GREETING + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)
AN_EMPTY_FRAME_AND_MORE = b"\x01\x00"


def command(body: bytes) -> bytes:
    """Return a command frame."""
    if len(body) < 256:
        return b"\x04" + bytes([len(body)]) + body
    return b"\x06" + struct.pack("!Q", len(body)) + body


def hello(name: bytes, password: bytes) -> bytes:
    """Return the PLAIN mechanism's HELLO."""
    return command(b"\x05HELLO" + bytes([len(name)]) + name + bytes([len(password)]) + password)


def ready(kind: bytes) -> bytes:
    """Return the PLAIN mechanism's INITIATE, for a socket of this type."""
    properties = {b"Socket-Type": kind, b"Identity": b""}
    body = b"".join(bytes([len(k)]) + k + struct.pack("!I", len(v)) + v for k, v in properties.items())
    return command(b"\x08INITIATE" + body)


def come_in(connection: socket.socket, role: str, secret: str, kind: bytes = b"DEALER") -> None:
    """Do the handshake; what is sent afterwards are message frames."""
    connection.sendall(PLAIN)
    _exactly(connection, 64)
    connection.sendall(hello(role.encode(), secret.encode()))
    assert _command(connection).startswith(b"\x07WELCOME")
    connection.sendall(ready(kind))
    assert _command(connection).startswith(b"\x05READY")


def _command(connection: socket.socket) -> bytes:
    flags, length = _exactly(connection, 2)
    assert flags == 4
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    heard = b""
    while len(heard) < count:
        part = connection.recv(count - len(heard))
        assert part, "hung up"
        heard += part
    return heard
