"""redis-cli for those who have not installed it: ``python -m labkit redis HGETALL workers``.

* With arguments: one command, its reply, done. Without: a prompt, one command a line, until ``quit`` or
  Ctrl-D; lines may also come from a pipe.
* On a terminal replies are dressed as redis-cli does, ``1) "worker-1"``, ``(integer) 3``, ``(nil)``,
  ``(error) ERR ...``; into a pipe or file they go raw, one value a line, ready for the next program.
* MONITOR and SUBSCRIBE go on until Ctrl-C.

One deliberate difference: a reply that is an error makes the exit code 1 (redis-cli does so only with -e),
so that a script notices.

Source: cliFormatReplyTTY and cliFormatReplyRaw in redis-cli.c; sdscatrepr for the quotes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from labkit.core.errors import ProtocolError
from labkit.mirror.resp import Address, ErrorReply, RedisLink, Reply, Status, parse_url
from labkit.support.i18n import _, translate_error

CONNECT_S = 3.0
ENDLESS = ("monitor", "subscribe", "psubscribe", "ssubscribe")
ESCAPES = {ord(c): r for c, r in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r"), ("\t", r"\t"))}
ESCAPES |= {7: r"\a", 8: r"\b"}

OK, FAILED, INTERRUPTED = 0, 1, 130


def no_advice() -> str:
    """Return what to do about a Redis that is not reached, if nobody knows better."""
    return _("is the cluster up? python -m labkit up")


def run(url: str, args: Sequence[str], advice: Callable[[], str] = no_advice) -> int:
    """Send ``args`` as one command to the Redis at ``url``, or prompt if there are none.

    Returns the exit code. 0: answered. 1: not reached (stderr says why in one line), or an error as reply.
    130: Ctrl-C. SettingsError if ``url`` is no Redis URL. ``advice()`` is asked for the next step if Redis is
    not reached.
    """
    shell = _Shell(parse_url(url), sys.stdout.isatty(), advice)
    try:
        if args:
            return shell.do(args)
        return shell.prompt()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        shell.close()


class _Shell:
    """Sends commands over one connection, opened with the first and again after a loss."""

    def __init__(self, address: Address, dress: bool, advice: Callable[[], str]) -> None:
        self._address = address
        self._advice = advice
        self._format: Callable[[Reply], bytes] = _dressed_line if dress else _raw_line
        self._link: RedisLink | None = None

    def do(self, words: Sequence[str]) -> int:
        """Run one command, print what it replies, and return its exit code."""
        code = OK
        for reply in self._replies(words):
            _write(self._format(reply))
            if isinstance(reply, ErrorReply):
                code = FAILED
        return FAILED if self._link is None else code

    def _replies(self, words: Sequence[str]) -> Iterator[Reply]:
        """Send one command and yield its replies: one, or for MONITOR and SUBSCRIBE all that come.

        When the connection fails this complains, closes it and ends. What fails in the caller's loop, such as
        printing into a closed pipe, does not come here and is not taken for Redis' fault.
        """
        try:
            if self._link is None:
                self._link = RedisLink(self._address, CONNECT_S)
                self._link.call("PING")  # a frozen server or a stranger shows now, ...
                self._link.wait_forever()  # ... and a command like BLPOP may take any time
            self._link.send(*words)
            yield (reply := self._link.receive())
            while words[0].lower() in ENDLESS and not isinstance(reply, ErrorReply):
                yield (reply := self._link.receive())
        except (OSError, ProtocolError) as error:
            self.close()
            _complain(self._address, error, self._advice)

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
        if self._link is not None:
            self._link.close()
            self._link = None


def _lines(prompt: str) -> Iterator[str]:
    """Yield what is typed after the prompt, with history and arrow keys if there is readline; or piped in."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    try:
        import readline  # noqa: F401 - that it is imported is what gives input() its history
    except ImportError:  # Windows
        pass
    while True:
        try:
            yield input(prompt)
        except EOFError:
            print()
            return


def _complain(address: Address, error: Exception, advice: Callable[[], str]) -> None:
    if isinstance(error, ProtocolError):
        text = translate_error(error)
    elif isinstance(error, PermissionError) and error.errno is None:  # Redis said so, not the system
        text = _("the Redis at {address} does not let us in: {reason}").format(address=address, reason=error)
    else:
        text = _("no Redis reached at {address} ({reason}); {advice}").format(
            address=address, reason=getattr(error, "strerror", None) or error, advice=advice()
        )
    print(text, file=sys.stderr)


def _write(data: bytes) -> None:
    """Write bytes to standard output as they are, where it takes bytes (a notebook's does not)."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode("utf-8", "replace"))
    else:
        buffer.write(data)
        buffer.flush()


# --- how replies look ---


def dressed(reply: Reply, indent: str = "") -> str:
    """Return a reply as redis-cli shows it on a terminal, without the last newline.

    ``indent`` is what stands before the second and later lines of a nested list.
    """
    if reply is None:
        return "(nil)"
    if isinstance(reply, ErrorReply):
        return f"(error) {reply.message}"
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
    lines = [f"{number:>{width}}) {dressed(item, inner)}" for number, item in enumerate(reply, 1)]
    return f"\n{indent}".join(lines)


def quoted(data: bytes) -> str:
    r"""Return bytes between double quotes, everything but printable ASCII escaped (``\n``, ``\xc3``)."""
    return '"' + "".join(_escaped(byte) for byte in data) + '"'


def _escaped(byte: int) -> str:
    return ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")


def raw(reply: Reply) -> bytes:
    """Return a reply as redis-cli writes it into a pipe, without the last newline; nil is an empty line."""
    if reply is None:
        return b""
    if isinstance(reply, ErrorReply):
        return reply.message.encode()
    if isinstance(reply, int):
        return b"%d" % reply
    if isinstance(reply, bytes):
        return bytes(reply)
    return b"\n".join(raw(item) for item in reply)


def _dressed_line(reply: Reply) -> bytes:
    return dressed(reply).encode() + b"\n"


def _raw_line(reply: Reply) -> bytes:
    return raw(reply) + b"\n"
