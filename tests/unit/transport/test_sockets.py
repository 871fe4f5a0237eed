"""Sockets as the lab uses them: whole messages in and out, and the signs of a refused secret."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.security.credentials import Keys, Token
from labkit.transport import sockets
from labkit.transport.handshake_monitor import Denial, HandshakeMonitor
from labkit.transport.poller import readable
from tests.tools.waiting import wait_until

Talk = Callable[[socket.socket], None]
Pair = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
"""The start of a ZMTP 3 greeting; the name of the mechanism follows."""


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def pair(context: zmq.Context[Any]) -> Pair:
    """Yield two DEALERs that are connected to each other."""
    ours, theirs = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    ours.bind("inproc://pair")
    theirs.connect("inproc://pair")
    return ours, theirs


@pytest.fixture
def listener() -> Iterator[Callable[[Talk], str]]:
    """Return a function that starts a TCP server with the given handler and returns its address."""
    opened: list[socket.socket] = []

    def listen(talk: Talk) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return  # closed: the test is over
                opened.append(connection)
                talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"tcp://127.0.0.1:{listening.getsockname()[1]}"

    yield listen
    for one in opened:
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # was closed by the test itself, or never connected
        one.close()


# --- messages -----------------------------------------------------------------------------------------------


def test_a_message_arrives_complete_with_frames_uncopied(pair: Pair) -> None:
    ours, theirs = pair
    big = os.urandom(200_000)
    sockets.send(theirs, b"envelope", [b"small", memoryview(big), bytearray(b"three")])
    wait_until(lambda: readable(ours))
    envelope, frames = sockets.receive(ours)
    assert envelope == b"envelope"
    assert [frame.bytes for frame in frames] == [b"small", big, b"three"]
    with pytest.raises(zmq.Again):
        sockets.receive(ours)


def test_an_envelope_without_frames_is_a_message(pair: Pair) -> None:
    ours, theirs = pair
    sockets.send(theirs, b"one", ())
    sockets.send(theirs, b"two", [])
    assert [sockets.receive(ours), sockets.receive(ours)] == [(b"one", []), (b"two", [])]


def test_a_full_queue_accepts_no_part_of_a_message(context: zmq.Context[Any]) -> None:
    ours, theirs = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    ours.rcvhwm = theirs.sndhwm = 2
    ours.bind("inproc://small")
    theirs.connect("inproc://small")
    sent = 0
    with pytest.raises(zmq.Again):
        while True:
            sockets.send(theirs, b"%d" % sent, [b"a", b"b"])
            sent += 1
    arrived = [sockets.receive(ours) for _ in range(sent)]
    assert [envelope for envelope, _ in arrived] == [b"%d" % number for number in range(sent)]
    assert all([frame.bytes for frame in frames] == [b"a", b"b"] for _, frames in arrived)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("a file called \udcff", "a file called ?"),
        ("é" * 40_000, "é" * 32_767),
        ("", ""),
    ],
)
def test_any_text_can_be_sent_and_read(text: str, arrives: str) -> None:
    said = m.WorkerError(bytes(16), 1, 0.5, "ERROR", text, m.Payload(b"traceback"))
    ((envelope, frames),) = wire.envelopes([said])
    assert wire.decode(envelope, frames, m.FROM_WORKER) == [said._replace(error=arrives)]


# --- handshakes ---------------------------------------------------------------------------------------------


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half_a_greeting(connection: socket.socket) -> None:
    connection.sendall(GREETING[:10])
    connection.close()


def web_page(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + b"x" * 100)
    connection.close()


def greeting_of(mechanism: bytes) -> Talk:
    """Greet, and disconnect at the answer."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING + mechanism.ljust(20, b"\0") + bytes(32))
        connection.settimeout(1)
        try:
            while connection.recv(1000):
                connection.close()
        except OSError:
            return  # closed, by whomever

    return talk


def another_mechanism(connection: socket.socket) -> None:
    connection.sendall(GREETING + b"CURVE".ljust(20, b"\0") + bytes(32))


def watched(context: zmq.Context[Any], address: str) -> tuple[zmq.Socket[bytes], HandshakeMonitor]:
    dealer = sockets.dealer(context, sockets.CLIENT_ROLE, Token(secrets.token_hex(32)), 1 << 20)
    handshakes = HandshakeMonitor(dealer)
    dealer.connect(address)
    return dealer, handshakes


@pytest.mark.parametrize("talk", [close, reset, half_a_greeting, web_page])
def test_a_connection_that_just_ends_is_no_refusal(
    context: zmq.Context[Any], listener: Callable[[Talk], str], talk: Talk
) -> None:
    """A broker killed in the middle of a handshake made its workers leave with "wrong secret"."""
    came: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        came.append(connection)
        talk(connection)

    dealer, handshakes = watched(context, listener(serve))
    # A page that answers nonsense ends libzmq's own attempts; the session opens a new socket after a while.
    wait_until(lambda: len(came) >= (1 if talk is web_page else 3), 10, "several connections")
    assert not handshakes.read()
    handshakes.close()
    dealer.close(0)


def test_a_peer_with_another_mechanism_is_a_refusal(
    context: zmq.Context[Any], listener: Callable[[Talk], str]
) -> None:
    dealer, handshakes = watched(context, listener(another_mechanism))
    wait_until(handshakes.read, 3, "the refusal")
    assert handshakes.denial is Denial.MECHANISM
    handshakes.close()
    dealer.close(0)


OWN_KEYS = Keys("0" * 40, "1" * 40, "2" * 40)


@pytest.mark.parametrize(
    ("credentials", "talk", "denial"),
    [
        (OWN_KEYS, greeting_of(b"CURVE"), Denial.OTHER_BROKER),
        (OWN_KEYS, greeting_of(b"PLAIN"), Denial.MECHANISM),
        (Token("x"), greeting_of(b"CURVE"), Denial.MECHANISM),
        (Token("x"), greeting_of(b"NULL"), Denial.MECHANISM),
    ],
    ids=["keys, CURVE", "keys, PLAIN", "secret, CURVE", "secret, NULL"],
)
def test_the_greeting_explains_why_a_broker_disconnects(
    context: zmq.Context[Any], listener: Callable[[Talk], str], credentials: Any, talk: Talk, denial: Denial
) -> None:
    address = listener(talk)
    dealer = sockets.dealer(context, sockets.CLIENT_ROLE, credentials, 1 << 20)
    handshakes = HandshakeMonitor(dealer, address, credentials)
    dealer.connect(address)
    wait_until(handshakes.read, 10, "the denial")
    assert handshakes.denial is denial
    handshakes.close()
    dealer.close(0)


@pytest.mark.parametrize("talk", [close, reset, half_a_greeting, web_page])
@pytest.mark.parametrize("credentials", [OWN_KEYS, Token("x")], ids=["keys", "secret"])
def test_a_probe_without_an_answer_is_no_refusal(
    context: zmq.Context[Any], listener: Callable[[Talk], str], credentials: Any, talk: Talk
) -> None:
    came: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        came.append(connection)
        talk(connection)

    address = listener(serve)
    dealer = sockets.dealer(context, sockets.CLIENT_ROLE, credentials, 1 << 20)
    handshakes = HandshakeMonitor(dealer, address, credentials)
    dealer.connect(address)
    enough = 1 if talk is web_page else 8
    wait_until(lambda: handshakes.read() or len(came) >= enough, 10, "several connections")
    assert not handshakes.read()
    handshakes.close()
    dealer.close(0)
