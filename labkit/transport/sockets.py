"""ZeroMQ sockets as the lab uses them: options, authentication, whole messages in and out.

Rules for every socket here:

* One thread owns it, from creation to close.
* It is acquired as a whole or not at all: a step that fails closes what the steps before have opened.
* No send blocks, and queues are bounded: the owner keeps the messages that cannot be sent.
* Closing drops the waiting messages (LINGER 0), unless a goodbye gets a moment to leave.
* Connections authenticate themselves, with the cluster's secret (ZMTP PLAIN, loopback) or with a key (CURVE).
  Only the socket's monitor reports a refusal, because sending without a connection raises nothing:
  ``labkit.transport.handshake_monitor``.

libzmq delivers one part of a message at a time. ``receive`` returns the envelope and its payload frames
together, and never leaves half a message behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from zmq.utils import garbage

from labkit.core.errors import N_, InvalidInput, TooManyOpenFiles
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.security.credentials import Credentials, Token
from labkit.support.descriptors import require
from labkit.support.setting_values import is_address
from labkit.transport.poller import Socket

TASK_HWM = 1000
"""Messages that may wait in a DEALER's queues; credit and quota bound the large ones."""
EVENT_HWM = 500
"""Batches of events that may wait for a subscriber."""
RECONNECT_MS = 50
RECONNECT_MAX_MS = 500
CONNECT_TIMEOUT_MS = 2000
DESCRIPTORS = 14
"""As many as a context with one connection and its monitor opens, and a few more."""
DESCRIPTORS_FOR_UNCOPIED = 10
"""As many as pyzmq opens before the first uncopied message of a process, and a few more."""

EVENT_TOPIC = b"events"
"""Start of the first frame of each message on the events' socket; the number of its first event follows."""

CLIENT_ROLE = "client"
WORKER_ROLE = "worker"


def new_context(descriptors: int = DESCRIPTORS) -> zmq.Context[Socket]:
    """Return a new context. Raises TooManyOpenFiles unless so many descriptors are left.

    libzmq would end this process if they ran out while its threads start.
    """
    require(descriptors)
    return zmq.Context()


@contextmanager
def acquired(socket: Socket) -> Iterator[Socket]:
    """Close ``socket`` if the block fails: a socket that is left open keeps its context from ending."""
    try:
        yield socket
    except BaseException:
        socket.close(linger=0)
        raise


def dealer(
    context: zmq.Context[Socket], role: str, credentials: Credentials, max_message_bytes: int
) -> zmq.Socket[bytes]:
    """Return a DEALER to be connected; it reconnects by itself. ``role`` is the name it presents."""
    with acquired(context.socket(zmq.DEALER)) as socket:
        _limit(socket, max_message_bytes)
        socket.sndhwm = socket.rcvhwm = TASK_HWM
        socket.reconnect_ivl = RECONNECT_MS
        socket.reconnect_ivl_max = RECONNECT_MAX_MS
        socket.connect_timeout = CONNECT_TIMEOUT_MS
        _authenticate(socket, role, credentials)
        return socket


def subscriber(context: zmq.Context[Socket], credentials: Credentials) -> zmq.Socket[bytes]:
    """Return a SUB to be connected to a broker's events; it uses a client's credentials."""
    with acquired(context.socket(zmq.SUB)) as socket:
        socket.linger = 0
        socket.rcvhwm = EVENT_HWM
        socket.reconnect_ivl = RECONNECT_MS
        socket.reconnect_ivl_max = RECONNECT_MAX_MS
        _authenticate(socket, CLIENT_ROLE, credentials)
        socket.subscribe(EVENT_TOPIC)
        return socket


def _authenticate(socket: zmq.Socket[bytes], role: str, credentials: Credentials) -> None:
    """Make ``socket`` authenticate itself when it connects."""
    if isinstance(credentials, Token):
        socket.plain_username = role.encode()
        socket.plain_password = credentials.secret.encode()
        return
    socket.curve_serverkey = credentials.broker.encode()
    socket.curve_publickey = credentials.public.encode()
    socket.curve_secretkey = credentials.secret.encode()


def check_address(address: str) -> None:
    """Raise ``InvalidInput`` if ``address`` is malformed, before an I/O thread fails on it."""
    if not is_address(address):
        raise InvalidInput(
            N_("{address!r} is not the address of a broker; an example is tcp://127.0.0.1:5555"),
            address=address,
        )


def _limit(socket: zmq.Socket[bytes], max_message_bytes: int) -> None:
    socket.linger = 0
    socket.maxmsgsize = (
        max_message_bytes + wire.HEADER_BYTES
    )  # libzmq closes the connection on a larger frame
    socket.setsockopt(zmq.IPV6, 0)


def receive(socket: zmq.Socket[bytes]) -> tuple[bytes, list[zmq.Frame]]:
    """Return one waiting message: its envelope and its payload frames, uncopied.

    Raises ``zmq.Again`` if none waits.
    """
    envelope = socket.recv(zmq.NOBLOCK)
    if not socket.getsockopt(zmq.RCVMORE):
        return envelope, []
    frames: list[zmq.Frame] = []
    more = True
    while more:
        frame = socket.recv(copy=False)
        frames.append(frame)
        more = frame.more
    return envelope, frames


def send(socket: zmq.Socket[bytes], envelope: bytes, frames: Iterable[Any]) -> None:
    """Send one message without blocking. Raises ``zmq.Again``, with nothing sent, if the queue is full."""
    frames = list(frames)
    if not frames:
        socket.send(envelope, zmq.NOBLOCK)
        return
    socket.send(envelope, zmq.NOBLOCK | zmq.SNDMORE)
    send_frames(socket, frames)


def send_frames(socket: zmq.Socket[bytes], frames: list[Any]) -> None:
    """Send the payload frames after the envelope. libzmq has accepted the message, so this cannot fail."""
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        # Uncopied: libzmq holds a reference until the bytes have gone, and payloads are never written to.
        uncopied = m.frame_size(frame) >= wire.COALESCE_BYTES and _can_send_uncopied()
        socket.send(frame, zmq.SNDMORE if index < last else 0, copy=not uncopied)


def _can_send_uncopied() -> bool:
    """Return whether pyzmq can watch over uncopied messages: it opens a context for that at the first one.

    If the descriptors ran out meanwhile, libzmq would end this process, and half a message would have left.
    """
    if garbage.gc.is_alive():
        return True
    try:
        require(DESCRIPTORS_FOR_UNCOPIED)
    except TooManyOpenFiles:
        return False
    return True
