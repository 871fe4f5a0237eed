"""Speaks Redis' wire protocol, RESP 2, as far as a command line and a ping need it.

One request is an array of byte strings; one reply is one of five kinds, told by its first byte::

    +OK            status            Status(b"OK")
    -ERR what      error             ErrorReply("ERR what")
    :3             integer           3
    $5 hello       bulk string       b"hello"        ($-1: None)
    *2 ... ...     array of replies  [..., ...]      (*-1: None)

Why not redis-py, which the mirror uses: it does not tell a status from a string, which redis-cli prints
differently, and importing it would double the memory of a process that only wants to know whether Redis
answers.

Guarantee: whatever a stranger sends, ``receive`` returns a reply or raises OSError or ProtocolError.

Source: the RESP specification (redis.io/docs, "Redis serialization protocol").
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from labkit.core.errors import N_, ProtocolError, SettingsError
from labkit.mirror.writer import without_password

DEFAULT_PORT = 6379
MAX_LINE = 1 << 16
MAX_BULK = 1 << 29
"""512 MiB, the longest string that Redis itself accepts."""
MAX_DEPTH = 32


class Status(bytes):
    """A short word like OK or PONG, which is not data."""


class ErrorReply(NamedTuple):
    """The server refused a command; the first word of ``message`` is its kind (ERR, WRONGTYPE, ...)."""

    message: str


Reply: TypeAlias = "None | int | bytes | ErrorReply | list[Reply]"


class Address(NamedTuple):
    """Where a Redis is and how to get in. With a ``path`` it is a Unix socket; host and port do not count."""

    host: str
    port: int
    path: str
    tls: bool
    username: str
    password: str
    database: int

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """Return what a URL names: ``redis://[user][:password@]host[:port][/db]``, ``rediss://...``, ``unix:///path``.

    SettingsError for anything else; its message does not repeat the password.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        path = unquote(parts.path)
        if parts.scheme not in ("redis", "rediss", "unix") or (parts.scheme == "unix" and not path):
            raise ValueError(parts.scheme)
        database = query.get("db", [""])[0] or ("" if parts.scheme == "unix" else path.strip("/")) or "0"
        return Address(
            host=parts.hostname or "localhost",
            port=parts.port or DEFAULT_PORT,
            path=path if parts.scheme == "unix" else "",
            tls=parts.scheme == "rediss",
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(database),
        )
    except ValueError as error:
        raise SettingsError(
            N_("{url!r} is no address of a Redis; write it like redis://127.0.0.1:6379/0"),
            url=without_password(url),
        ) from error


def pack(arguments: Sequence[str | bytes]) -> bytes:
    """Return one request as bytes; strings travel as UTF-8."""
    words = [
        word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape") for word in arguments
    ]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def read_reply(stream: BinaryIO, depth: int = 0) -> Reply:
    """Return the next reply of ``stream``; ConnectionError at its end, ProtocolError if it is not RESP."""
    line = stream.readline(MAX_LINE)
    if not line:
        raise ConnectionResetError("the server closed the connection")
    kind, text = line[:1], line[1:-2]
    if not line.endswith(b"\r\n") or kind not in b"+-:$*" or depth > MAX_DEPTH:
        raise _not_redis(line)
    if kind == b"+":
        return Status(text)
    if kind == b"-":
        return ErrorReply(text.decode("utf-8", "replace"))
    try:
        number = int(text)
    except ValueError as error:
        raise _not_redis(line) from error
    if kind == b":":
        return number
    if number == -1:
        return None
    if not 0 <= number <= MAX_BULK:
        raise _not_redis(line)
    if kind == b"*":
        return [read_reply(stream, depth + 1) for _ in range(number)]
    data = stream.read(number + 2)
    if len(data) < number + 2:
        raise ConnectionResetError("the server closed the connection in the middle of a reply")
    return data[:-2]


def _not_redis(line: bytes) -> ProtocolError:
    return ProtocolError(N_("no Redis answers there: it sent {line!r}"), guilty="server", line=line[:60])


class RedisLink:
    """One connection to the Redis at ``address``, logged in and with its database chosen.

    ``timeout_s`` bounds connecting and each wait for bytes; ``wait_forever()`` lifts it for replies that
    may take any time. Raises OSError (refused, timed out, broken off), ProtocolError (no Redis) and
    PermissionError (an OSError; password or database refused).
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._socket = _connect(address, timeout_s)
        self._stream = self._socket.makefile("rb")
        try:
            if address.password:
                login = [address.username, address.password] if address.username else [address.password]
                self._must("AUTH", *login)
            if address.database:
                self._must("SELECT", str(address.database))
        except BaseException:
            self.close()
            raise

    def _must(self, *arguments: str) -> None:
        reply = self.call(*arguments)
        if isinstance(reply, ErrorReply):
            raise PermissionError(reply.message)

    def send(self, *arguments: str | bytes) -> None:
        self._socket.sendall(pack(arguments))

    def receive(self) -> Reply:
        return read_reply(self._stream)

    def call(self, *arguments: str | bytes) -> Reply:
        """Send one command and return its reply."""
        self.send(*arguments)
        return self.receive()

    def wait_forever(self) -> None:
        self._socket.settimeout(None)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> RedisLink:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _connect(address: Address, timeout_s: float) -> socket.socket:
    if address.path:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("this system has no Unix sockets")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(address.path)
        except BaseException:
            connection.close()
            raise
        return connection
    try:
        connection = socket.create_connection((address.host, address.port), timeout_s)
    except UnicodeError as error:  # a name with a label of more than 63 letters
        raise OSError(f"{address.host!r} is no host name") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls:
        import ssl

        return ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
    return connection
