"""Calls that ZeroMQ lacks: look at one connection, end it, and bind a port again at once.

libzmq's sockets are made of ordinary connections, TCP or Unix, whose descriptors belong to libzmq. The
functions here ask the kernel how many bytes of a connection are unread, or shut the connection down, so that
libzmq finds it ended and cleans up. They shut down a duplicate of the descriptor: its number cannot pass to
another connection if libzmq closes its own meanwhile. (If libzmq closed it just before it was duplicated, the
number may belong to another connection already. That one then ends instead, and reconnects.)
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import zmq

from labkit.core.errors import N_, LabkitError, PortInUse
from labkit.support import descriptors
from labkit.transport.poller import Socket

T = TypeVar("T")

AGAIN_S = 5.0
"""For how long to retry a port that this process has just released."""
AGAIN_EVERY_S = 0.002

_NOW = getattr(socket, "MSG_DONTWAIT", 0)
_UNCOPIED = getattr(socket, "MSG_TRUNC", 0)  # Linux: discards received TCP data without copying it
_MANY = 1 << 20


def port_of(bound: Socket) -> int:
    """Return the port at which a socket listens."""
    return int(bound.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])


def port_in_use(host: str, port: int, error: zmq.ZMQError) -> LabkitError:
    """Return the error for a port that could not be bound."""
    if descriptors.is_exhausted(error):
        return descriptors.too_many(error)
    return PortInUse(
        N_("port {port} on {host} is taken ({why}); stop what uses it, or choose another port"),
        port=port,
        host=host,
        why=zmq.strerror(error.errno or 0),
    )


def bound_again(bind: Callable[[], T]) -> T:
    """Return what ``bind()`` does, at a port that a closed socket of ours had.

    libzmq releases a port in a thread of its own, a moment after the socket was closed, without notice. So
    this function retries. Raises ZMQError after ``AGAIN_S``: another process has the port.
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
    """Return how many bytes have arrived that libzmq has not read yet; 0 if the connection is closed."""
    import fcntl  # not on Windows, where this is never called
    import termios

    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(waiting)


def disconnect(descriptors: Iterable[int]) -> None:
    """End these connections and discard the data that they have received.

    Discarding matters: libzmq reads received data to its end even after the shutdown, and the kernel may have
    accepted tens of megabytes.
    """
    ended = [connection for each in descriptors if (connection := _duplicate(each)) is not None]
    for connection in ended:
        try:
            # libzmq's close then resets the connection, so the other side does not wait for a reader.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side has ended it already
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
    """Return a duplicate of this connection; None if the descriptor is closed or no socket."""
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
