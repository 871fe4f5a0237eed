"""ZMTP 3 by hand, as far as attacks need it: a peer with the secret that then breaks the rules."""

from __future__ import annotations

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f"
PLAIN = GREETING + b"\x03\x00" + b"PLAIN".ljust(20, b"\0") + b"\0" + bytes(31)
NULL = GREETING + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
CURVE = GREETING + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)
AN_EMPTY_FRAME = b"\x00\x00"
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
    """Do the handshake; message frames follow."""
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


RAW = {
    "nothing": b"",
    "a web page's POST": b"POST /api HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nL\x01\x10\0",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "ZMTP 1.0": b"\x01\x00" + b"\x05\x00L\x01\x02\x03",
    "ZMTP 2.0": GREETING + b"\x01\x05\x00\x00" + b"\x00\x05L\x01\x02\x03\x04",
    "half a greeting": GREETING + b"\x03",
    "a greeting and noise": PLAIN + b"\x99" * 300,
    "NULL": NULL + b"\x04\x1b\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER" + b"\x00\x05L\x01\x02\x03\x04",
    "CURVE": CURVE + b"\x04\x05HELLO" + bytes(200),
    "CURVE, a HELLO of the right size": CURVE + command(b"\x05HELLO" + b"\x01\x00" + bytes(192)),
    "CURVE, INITIATE before HELLO": CURVE + command(b"\x08INITIATE" + bytes(300)),
    "CURVE, a message before HELLO": CURVE + b"\x00\x05L\x01\x02\x03\x04",
    "CURVE, half a HELLO": CURVE + command(b"\x05HELLO" + bytes(194))[:100],
    "CURVE, a giant command": CURVE + b"\x06" + struct.pack("!Q", 1 << 62) + bytes(1000),
    "no mechanism": GREETING + b"\x03\x00" + bytes(52),
    "a message before HELLO": PLAIN + b"\x00\x05L\x01\x02\x03\x04",
    "READY before HELLO": PLAIN + b"\x04\x06\x05READY",
    "empty credentials": PLAIN + hello(b"", b""),
    "no UTF-8": PLAIN + hello(b"\xff\xfe", b"\x80" * 200),
    "long credentials": PLAIN + hello(b"c" * 255, b"p" * 255),
    "a HELLO that lies about its length": PLAIN + b"\x04\x0b\x05HELLO\xffabcd",
    "a giant frame": PLAIN + b"\x06" + struct.pack("!Q", 1 << 62) + b"x" * 1000,
    "a negative length": PLAIN + b"\x06" + b"\xff" * 8,
}
