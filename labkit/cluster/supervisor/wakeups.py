"""What wakes the supervisor besides its control port: signals, the end of a child, the end of its lifeline.

Signals and threads write to a ``Waker`` that the loop's selector watches. SIGCHLD reports that a child ended.
Windows has no such signal: there a thread per child waits for it. The standard input has a thread of its own
everywhere, because Windows cannot wait for a pipe and a socket at once.

The waker stays armed: after each wake-up the loop looks at all of its children and at ``end_asked`` before it
sleeps again.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading

from labkit.support.waker import Waker


class Wakeups:
    """Wakes ``selector``, and records why: ``end_asked``, ``detached``."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.end_asked = False
        """Whether the cluster is to end: a signal came, or the standard input ended."""
        self.detached = False
        """Whether the starter lets the cluster outlive it."""
        self._watched: set[int] = set()
        self._waker = Waker()
        self._waker.arm()
        selector.register(self._waker, selectors.EVENT_READ, self._on_wake)

    def receive_signals(self) -> None:
        """SIGTERM, SIGINT and SIGHUP ask for the end; SIGCHLD only wakes. From the main thread."""
        signal.set_wakeup_fd(self._waker.signal_fd, warn_on_full_buffer=False)
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: self.ask_for_the_end())
        if sys.platform != "win32":
            signal.signal(signal.SIGCHLD, lambda *_: None)

    def ask_for_the_end(self) -> None:
        """Begin the end of the cluster at the loop's next turn."""
        self.end_asked = True
        self._waker.wake()

    def watch_standard_input(self) -> None:
        """Ask for the end when the standard input ends, unless the line ``detach`` came before."""
        threading.Thread(target=self._read_standard_input, name="lifeline", daemon=True).start()

    def _read_standard_input(self) -> None:
        while line := read_line(0):
            self.detached = self.detached or line == b"detach"
        if not self.detached:
            self.ask_for_the_end()

    def watch(self, process: subprocess.Popen[bytes] | None) -> None:
        """Wake when this child ends, on systems where no signal reports it; it may be watched already."""
        if sys.platform == "win32" and process is not None and process.pid not in self._watched:
            self._watched.add(process.pid)
            threading.Thread(target=self._wait_for, args=(process,), daemon=True).start()

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._watched.discard(process.pid)
        self._waker.wake()

    def _on_wake(self) -> None:
        self._waker.clear()
        self._waker.arm()

    def close(self) -> None:
        """Receive no more signals."""
        signal.set_wakeup_fd(-1)
        self._waker.close()


def read_line(descriptor: int) -> bytes:
    """Return one line without its end, or b"" at the end of the file. Unbuffered: the rest stays unread."""
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)
