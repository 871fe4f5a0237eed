"""What ZeroMQ has no call for: to look at one connection, to end it, and to have a port again at once.

libzmq's sockets are made of ordinary connections, TCP or Unix, whose descriptors belong to it. Here one of
them is asked how much lies unread in it, or shut down, so that libzmq finds it ended and tidies up. What is
shut down is a duplicate of the descriptor: whatever libzmq closes meanwhile, no other connection gets its
number. (Should that have happened before, another connection is ended, and reconnects.)
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import zmq

T = TypeVar("T")

AGAIN_S = 5.0
"""For how long a port that was given up a moment ago is asked for again."""
AGAIN_EVERY_S = 0.002

_NOW = getattr(socket, "MSG_DONTWAIT", 0)
_UNCOPIED = getattr(socket, "MSG_TRUNC", 0)  # Linux: what TCP has received is thrown away where it is
_MANY = 1 << 20


def port_of(bound: Any) -> int:
    """Return the port at which a socket listens."""
    return int(bound.last_endpoint.decode().rstrip("\0").rpartition(":")[2])


def bound_again(bind: Callable[[], T]) -> T:
    """Return what ``bind()`` does, at a port that a closed socket of ours had.

    libzmq gives a port free in a thread of its own, a moment after the socket was closed, and tells nobody:
    so it is tried until it works. Raises ZMQError after ``AGAIN_S``: somebody else has it.
    """
    until = time.monotonic() + AGAIN_S
    while True:
        try:
            return bind()
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
        time.sleep(AGAIN_EVERY_S)


def unread_bytes(descriptor: int) -> int:
    """Return how much has arrived that libzmq has not read yet; 0 if the connection is closed."""
    import fcntl  # not on Windows, where nobody asks
    import termios

    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(waiting)


def disconnect(descriptors: Iterable[int]) -> None:
    """End these connections, and throw away what they have received.

    The latter matters: what has arrived is read to its end by libzmq, shut down or not, and the system may
    have accepted tens of megabytes.
    """
    ended = [connection for each in descriptors if (connection := _duplicate(each)) is not None]
    for connection in ended:
        try:
            # Closed by libzmq then, it is reset: the other side does not wait for somebody to read on.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was faster
    waste = bytearray(_MANY)
    for connection in ended:
        with connection:
            _empty(connection, waste)


def at_port(port: int) -> list[int]:
    """Return the descriptors of this process's connections to this port of its own."""
    found = []
    for name in os.listdir("/dev/fd"):
        connection = _duplicate(int(name))
        if connection is None:
            continue
        with connection:
            try:
                if connection.family == socket.AF_INET and connection.getsockname()[1] == port:
                    connection.getpeername()
                    found.append(int(name))
            except OSError:
                continue  # it listens, or has ended
    return found


def _duplicate(descriptor: int) -> socket.socket | None:
    """Return a connection of our own to the same; None if the descriptor is closed, or no connection."""
    try:
        own = socket.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=own)
    except OSError:
        socket.close(own)
        return None


def _empty(connection: socket.socket, waste: bytearray) -> None:
    try:
        while connection.recv_into(waste, len(waste), _NOW | _UNCOPIED):
            pass
    except OSError:
        return  # empty, or ended
