"""Single keys from a terminal, without Enter, and without leaving the terminal in disorder."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any

POLL_S = 0.05


class Keys:
    """``with Keys() as keys``: keys come one by one and are not shown. Ctrl-C stays Ctrl-C."""

    def __init__(self) -> None:
        self._before: list[Any] = []

    def __enter__(self) -> Keys:
        if sys.platform != "win32":
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        if sys.platform != "win32":
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def pressed(self, timeout_s: float) -> str:
        """Return the keys that are pressed within ``timeout_s``, or "" if none is."""
        if sys.platform == "win32":
            import msvcrt

            deadline = time.monotonic() + timeout_s
            while not msvcrt.kbhit():
                if time.monotonic() > deadline:
                    return ""
                time.sleep(POLL_S)
            return msvcrt.getwch()
        import select

        descriptor = sys.stdin.fileno()  # not sys.stdin itself: what it buffers, select does not see
        ready, _, _ = select.select([descriptor], [], [], timeout_s)
        return os.read(descriptor, 64).decode("ascii", "replace") if ready else ""
