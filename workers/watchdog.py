"""The watchdog of a worker: ends a process in which a task keeps Python's interpreter lock.

A task that never ends, but lets other threads run, is reported by the thread that talks, and the worker
leaves (exit code 86). A call that never lets go of the interpreter lock (a runaway regular expression,
``sum(range(10**12))``) also stops the thread that talks: no heartbeat, no report, and nothing written in
Python can help. So the operating system does. A timer counts the *processor time* of this process, and is
wound up again at every look at the clock. When it runs down, nobody has had the lock for that long, and it
ends the process. The traceback of every thread is then in the log; that of the "Current thread", the one
that was computing, names the line to blame.

Processor time stands still while a process is frozen, so one that wakes up after an hour is not bitten. A
task that *waits* with the lock (no code of Python's own does) is not found. Windows has no such timer.

Source: the watchdog timer of embedded systems; ``setitimer(2)``.
"""

from __future__ import annotations

import faulthandler
import signal
import sys

SLACK_S = 1.0
"""Processor time beyond the leases that may pass between two windings of a process that is well."""


class Watchdog:
    """Ends this process when it has computed for too long without being wound up; once it was, first."""

    def __init__(self) -> None:
        self.wound_s = 0.0
        """What it was wound up for."""
        if sys.platform != "win32":
            # Written in C: it needs no interpreter lock. ``chain``: then the signal ends the process.
            faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)

    def wind(self, leases_s: float) -> None:
        """From now on, this process may compute for so long, and no longer, before this is called again.

        What computes at the same time shares the processor time that is counted: ``leases_s`` is the sum.
        """
        self.wound_s = leases_s
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, leases_s + SLACK_S)
