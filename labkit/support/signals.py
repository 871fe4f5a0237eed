"""Defers Ctrl-C for a moment, for work of the main thread that must not be interrupted in the middle.

Python runs signal handlers in the main thread, between any two of its steps, and the usual handler for Ctrl-C
raises KeyboardInterrupt there. In the middle of a state machine that would leave half a transition. Inside
``with DeferredSignals(wake):`` a signal is only noted in ``received``, and ``wake`` is called so that a
waiting loop looks at it. When the block ends, the handler is called as if the signal had arrived then.

In any other thread the block changes nothing: no handler ever runs there.

``sigint_blocked`` is for child processes: a terminal sends Ctrl-C to them, too.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
_SIGNALS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
_MAIN = threading.main_thread()
# ``signal.signal`` converts numbers to enums and back, which costs ten times as much as the call itself.
_get: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)
_set: Callable[[int, Any], Any] = getattr(sys.modules.get("_signal"), "signal", signal.signal)


def stop_signals() -> tuple[int, ...]:
    """Return the signals that ask a process of the lab to stop.

    Windows has no SIGTERM from outside: there a supervisor sends Ctrl-Break.
    """
    return tuple(
        int(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)
    )


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, so that processes started here never receive Ctrl-C.

    A terminal sends Ctrl-C to all processes of a program. Those of a pool would each print a traceback,
    although their parent receives it too and ends them in order. A process inherits the signals that are
    blocked in the thread that starts it, so it is protected from its first moment. This thread receives a
    pending Ctrl-C when the block ends. (Other threads of this program do not block it: Ctrl-C may arrive
    through one of them. Windows cannot block signals: there, a process that is just starting prints a
    traceback when it ends.)
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DeferredSignals:
    """See the module's head. Use it once, with ``with``."""

    __slots__ = ("_handlers", "_wake", "received")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._handlers: list[tuple[int, Any]] = []
        self.received: list[int] = []
        """The signals that have arrived since the block began."""

    def __enter__(self) -> Self:
        if threading.get_ident() == _MAIN.ident:
            for number in _SIGNALS:
                handler = _get(number)
                if callable(handler):
                    self._handlers.append((number, handler))
                    _set(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        self._wake()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for number, handler in reversed(self._handlers):  # Ctrl-C last: from then on it raises here, too
                _set(number, handler)
        finally:
            for number, handler in self._handlers:
                if number in self.received:
                    handler(number, None)
