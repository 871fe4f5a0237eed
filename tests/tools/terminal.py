"""A program in a pseudo-terminal: type keys, wait for what it shows, change the size (POSIX)."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]|\x1b\][^\x07]*\x07")


class Terminal:
    """One program and its terminal; ``shown`` is all that it has printed, without colours."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours
        self._raw = b""

    @property
    def shown(self) -> str:
        return ESCAPES.sub("", self._raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def wait_for(self, text: str, times: int = 1, timeout_s: float = 30.0) -> str:
        """Read until ``text`` was shown so many times; return everything shown."""
        deadline = time.monotonic() + timeout_s
        while " ".join(self.shown.split()).count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was not shown {times} times:\n{self.shown}"
            if not self._read(0.1):
                break
        assert " ".join(self.shown.split()).count(text) >= times, self.shown
        return self.shown

    def wait_for_end(self, timeout_s: float = 30.0) -> int:
        """Read until the program has ended; return its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(0.1) and time.monotonic() < deadline:
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def is_line_by_line(self) -> bool:
        """Return whether the terminal is as a shell wants it: lines, and keys that are seen."""
        modes = termios.tcgetattr(self._ours)[3]
        return bool(modes & termios.ICANON and modes & termios.ECHO)

    def _read(self, wait_s: float) -> bool:
        """Read what there is; return False at the end."""
        ready, _, _ = select.select([self._ours], [], [], wait_s)
        if not ready:
            return True
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # Linux: the other side is closed
            return False
        self._raw += data
        return bool(data)


@contextmanager
def terminal(
    command: Sequence[object], cwd: Path, columns: int = 80, lines: int = 24, **environ: str
) -> Iterator[Terminal]:
    """Run a command in a terminal of this size, and end it when the block is left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env={**inherited, "TERM": "xterm-256color", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
