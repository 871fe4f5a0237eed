"""What redis-cli does, on top of redis-py: ``python -m labkit redis HGETALL workers``.

* With arguments: send one command, print its reply, end. Without: prompt for one command a line, until
  ``quit`` or Ctrl-D; the lines may also come from a pipe.
* On a terminal, replies look as in redis-cli: ``1) "worker-1"``, ``(integer) 3``, ``(nil)``,
  ``(error) ERR ...``. Into a pipe or file they go raw, one value a line, ready for the next program.
* MONITOR and SUBSCRIBE go on until Ctrl-C.

One deliberate difference: an error reply makes the exit code 1 (redis-cli does so only with -e), so that a
script notices.

Source: cliFormatReplyTTY and cliFormatReplyRaw in redis-cli.c; sdscatrepr for the quotes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from redis._parsers import _RESP2Parser
from redis.connection import Connection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from labkit.core.names import without_controls
from labkit.mirror.redis_client import connection_class
from labkit.mirror.url import Address, parse_url
from labkit.support.i18n import _
from labkit.support.redis_url import parse

CONNECT_S = 3.0
ENDLESS = ("monitor", "subscribe", "psubscribe", "ssubscribe")
ESCAPES = {ord(c): r for c, r in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r"), ("\t", r"\t"))}
ESCAPES |= {7: r"\a", 8: r"\b"}

OK, FAILED, INTERRUPTED = 0, 1, 130


class Status(bytes):
    """A short word like OK or PONG, which redis-cli prints without quotes, unlike a string."""


class ErrorReply(ResponseError):
    """An error reply with its whole text; the first word is its kind (ERR, WRONGTYPE, ...)."""


Reply: TypeAlias = "None | int | bytes | ErrorReply | list[Reply]"


class _Parser(_RESP2Parser):
    """redis-py's parser, which also keeps status replies apart from strings, and errors as they were sent."""

    @classmethod
    def parse_error(cls, response: str) -> ErrorReply:
        return ErrorReply(response)

    def _read_response(self, *args: Any, **options: Any) -> Any:
        assert self._buffer is not None
        start = self._buffer.get_pos()
        reply = super()._read_response(*args, **options)
        if not isinstance(reply, bytes):
            return reply
        end = self._buffer.get_pos()
        self._buffer.rewind(start)
        kind = self._buffer.read(1)
        self._buffer.rewind(end)
        return Status(reply) if kind == b"+" else reply


def no_advice() -> str:
    """Return the advice about a Redis that cannot be reached, for callers without a better one."""
    return _("is the cluster up? python -m labkit up")


def run(url: str, args: Sequence[str], advice: Callable[[], str] = no_advice) -> int:
    """Send ``args`` as one command to the Redis at ``url``, or prompt if there are none.

    Returns the exit code. 0: answered. 1: not reached (one line on stderr gives the reason), or an error
    reply. 130: Ctrl-C. Raises SettingsError if ``url`` is no Redis URL. If Redis is not reached, ``advice()``
    returns the next step to suggest.
    """
    shell = _Shell(url, sys.stdout.isatty(), advice)
    try:
        if args:
            return shell.do(args)
        return shell.prompt()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        shell.close()


class _Shell:
    """Sends commands over one connection, opened with the first command and again after a loss."""

    def __init__(self, url: str, is_terminal: bool, advice: Callable[[], str]) -> None:
        self._address = parse_url(url)
        self._url = url
        self._advice = advice
        self._format: Callable[[Reply], bytes] = _formatted_line if is_terminal else _raw_line
        self._connection: Connection | None = None

    def do(self, words: Sequence[str]) -> int:
        """Run one command, print its reply, and return its exit code."""
        code = OK
        for reply in self._replies(words):
            _write(self._format(reply))
            if isinstance(reply, ErrorReply):
                code = FAILED
        return FAILED if self._connection is None else code

    def _replies(self, words: Sequence[str]) -> Iterator[Reply]:
        """Send one command and yield its replies: one, or for MONITOR and SUBSCRIBE all that come.

        If the connection fails, this prints the reason, closes the connection and ends. Errors in the
        caller's loop, such as printing into a closed pipe, do not reach this code and are not taken for
        Redis' fault.
        """
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
                self._connection.send_command("PING")
                _receive(self._connection, CONNECT_S)  # shows a frozen server, or one that is no Redis
            self._connection.send_command(*(word.encode("utf-8", "surrogateescape") for word in words))
            # A command like BLPOP may take any time.
            yield (reply := _receive(self._connection, None))
            while words[0].lower() in ENDLESS and not isinstance(reply, ErrorReply):
                yield (reply := _receive(self._connection, None))
        except (RedisError, OSError, ValueError) as error:  # ValueError: the bytes that came are not RESP
            self.close()
            print(without_controls(_explanation(self._address, error, self._advice)), file=sys.stderr)

    def prompt(self) -> int:
        """Run the commands that are typed or piped in; returns the exit code of the last one."""
        code = OK
        for line in _lines(f"{self._address}> "):
            try:
                words = shlex.split(line)
            except ValueError:
                print(_("the quotes in this line do not match"), file=sys.stderr)
                code = FAILED
                continue
            if not words:
                continue
            if words[0].lower() in ("quit", "exit"):
                break
            code = self.do(words)
        return code

    def close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None


def _connect(url: str) -> Connection:
    """Return a connection to ``url``, logged in, in its database. Raises as redis-py does."""
    parsed = parse(url)
    connection: Connection = connection_class(parsed)(
        **parsed.options(),
        parser_class=_Parser,
        protocol=2,
        driver_info=None,
        socket_timeout=CONNECT_S,
        socket_connect_timeout=CONNECT_S,
    )
    connection.connect()
    return connection


def _receive(connection: Connection, timeout_s: float | None) -> Reply:
    """Return the next reply; redis-py raises error replies at the top level, here they are values."""
    try:
        reply: Reply = connection.read_response(disable_decoding=True, timeout=timeout_s)
    except ErrorReply as error:
        return error
    return reply


def _lines(prompt: str) -> Iterator[str]:
    """Yield the lines typed after the prompt (with history if there is readline), or piped in."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    try:
        import readline  # noqa: F401 - importing it gives input() its history
    except ImportError:  # Windows
        pass
    while True:
        try:
            yield input(prompt)
        except EOFError:
            print()
            return


def _explanation(address: Address, error: Exception, advice: Callable[[], str]) -> str:
    """Return one line on why no command could be sent, and the next step."""
    if isinstance(error, ErrorReply):  # in answer to AUTH or SELECT
        return _("the Redis at {address} does not let us in: {reason}").format(address=address, reason=error)
    if isinstance(error, (InvalidResponse, ValueError)) and not isinstance(error, UnicodeError):
        return _("no Redis answers at {address}: {reason}").format(address=address, reason=error)
    reason = getattr(error.__context__, "strerror", None) or error  # the system's words without redis-py's
    return _("no Redis reached at {address} ({reason}); {advice}").format(
        address=address, reason=reason, advice=advice()
    )


def _write(data: bytes) -> None:
    """Write bytes to standard output unchanged, or decoded if it takes only text (a notebook's)."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode("utf-8", "replace"))
    else:
        buffer.write(data)
        buffer.flush()


# --- how replies look ---


def formatted(reply: Reply, indent: str = "") -> str:
    """Return a reply as redis-cli shows it on a terminal, without the last newline.

    ``indent`` stands before the second and later lines of a nested list.
    """
    if reply is None:
        return "(nil)"
    if isinstance(reply, ErrorReply):
        return f"(error) {reply}"
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if isinstance(reply, Status):
        return reply.decode("utf-8", "replace")
    if isinstance(reply, bytes):
        return quoted(reply)
    if not reply:
        return "(empty array)"
    width = len(str(len(reply)))
    inner = indent + " " * (width + 2)
    lines = [f"{number:>{width}}) {formatted(item, inner)}" for number, item in enumerate(reply, 1)]
    return f"\n{indent}".join(lines)


def quoted(data: bytes) -> str:
    r"""Return bytes between double quotes, with all but printable ASCII escaped (``\n``, ``\xc3``)."""
    return '"' + "".join(_escaped(byte) for byte in data) + '"'


def _escaped(byte: int) -> str:
    return ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")


def raw(reply: Reply) -> bytes:
    """Return a reply as redis-cli writes it into a pipe, without the last newline; nil is an empty line."""
    if reply is None:
        return b""
    if isinstance(reply, ErrorReply):
        return str(reply).encode()
    if isinstance(reply, int):
        return b"%d" % reply
    if isinstance(reply, bytes):
        return bytes(reply)
    return b"\n".join(raw(item) for item in reply)


def _formatted_line(reply: Reply) -> bytes:
    return without_controls(formatted(reply)).encode() + b"\n"


def _raw_line(reply: Reply) -> bytes:
    return raw(reply) + b"\n"
