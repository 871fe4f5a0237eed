"""A small HTTP/1.1 caller for measurements: kept connections, requests that are encoded once.

An ordinary client costs more than what is measured. This one sends prepared bytes and reads the answer by its
Content-Length. Only ``benchmarks.gateway`` uses it.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack

from benchmarks.figures import BenchFailed
from labkit.core.errors import N_

PATIENCE_S = 60.0
END_OF_HEAD = b"\r\n\r\n"


def get(path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes, content_type: str) -> bytes:
    """Return a POST request with this body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def upload(path: str, name: str, data: bytes) -> bytes:
    """Return a POST request that sends ``data`` as the file ``name`` of a form, as curl -F does."""
    edge = "labkit-edge"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
    return post(path, head + data + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}")


class Connection:
    """One kept connection to 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def call(self, request: bytes) -> bytes:
        """Send a request; return the body of its answer. Raises BenchFailed unless its status is 200."""
        self.socket.sendall(request)
        while (body := self.take()) is None:
            pass
        return body

    def take(self) -> bytes | None:
        """Read once; return the body of an answer that is complete now. Raises BenchFailed as ``call``."""
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise BenchFailed(N_("the gateway closed a connection; its speed means nothing"))
        self._read += piece
        end = self._read.find(END_OF_HEAD)
        if end < 0:
            return None
        head = self._read[:end].lower()
        if not head.startswith((b"http/1.1 200", b"http/1.1 202")):
            raise BenchFailed(
                N_("the gateway answered {line}; its speed means nothing"),
                line=head.split(b"\r\n")[0].decode("latin-1"),
            )
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(self._read) < end + 4 + length:
            return None
        body, self._read = self._read[end + 4 :], b""
        return body

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def flood(port: int, request: bytes, connections: int, count: int) -> None:
    """Return when ``count`` requests are answered: so many connections, each with one under way."""
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _number in range(connections):
            each = Connection(port)
            stack.callback(each.close)
            selector.register(each.socket, selectors.EVENT_READ, each)
            each.socket.sendall(request)
        sent, answered, ends_at = connections, 0, time.monotonic() + PATIENCE_S
        while answered < count:
            if time.monotonic() > ends_at:
                raise BenchFailed(N_("the gateway did not answer in time"))
            for key, _events in selector.select(1.0):
                if key.data.take() is None:
                    continue
                answered += 1
                if sent < count:
                    key.data.socket.sendall(request)
                    sent += 1
