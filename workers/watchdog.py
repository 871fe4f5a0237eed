"""The watchdog of a worker: ends the process if a task keeps Python's interpreter lock.

If a task never ends but lets other threads run, the leader reports it and the worker leaves (exit code 86). A
call that never releases the interpreter lock (a runaway regular expression, ``sum(range(10**12))``) also
stops the leader: no heartbeat, no report, and no Python code can help. So the operating system does. A timer
counts the *processor time* of this process and is restarted each time the leader looks at the clock. If it
expires, no other thread has had the lock for that long, and it ends the process. The log then holds the
traceback of every thread; that of the "Current thread", the one that was computing, names the offending line.

Processor time stands still while a process is frozen, so a process that wakes up after an hour survives. A
task that *waits* while it holds the lock (no code of Python's own does) is not found. Windows has no such
timer.

Source: the watchdog timer of embedded systems; ``setitimer(2)``.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys

log = logging.getLogger("labkit.worker")

SLACK_S = 1.0
"""Processor time beyond the leases that a healthy process may use between two restarts of the timer."""


class Watchdog:
    """Ends this process when it has computed for too long without ``restart``. Starts with the first call."""

    def __init__(self) -> None:
        self.leases_s = 0.0
        """The leases of the last ``restart``."""
        if sys.platform != "win32":
            # The handler is written in C and needs no interpreter lock. With ``chain`` the signal then ends
            # the process.
            try:
                faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
            except (RuntimeError, ValueError, OSError) as error:
                # Without a place for the tracebacks, the signal still ends the process.
                log.warning("a task that holds the lock will end this worker without a traceback: %s", error)

    def restart(self, leases_s: float) -> None:
        """Allow this process ``leases_s`` of processor time before the next call.

        Tasks that compute at the same time share this processor time, so ``leases_s`` is the sum of their
        leases.
        """
        self.leases_s = leases_s
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, leases_s + SLACK_S)
