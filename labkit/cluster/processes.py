"""The processes of a cluster: their kinds, their states, and which command applies in which state.

Shared by every backend, by the interface and by what shows a cluster. It imports the standard library and
labkit's errors only, because the supervisor imports it too.
"""

from __future__ import annotations

import signal
import sys
from typing import NotRequired, TypedDict

from labkit.core.errors import N_, ClusterError, InvalidInput

WORKER, BROKER, REDIS, API = "worker", "broker", "redis", "api"
"""The kinds of a cluster's processes."""

RUNNING, PAUSED, STOPPING, RESTARTING = "running", "paused", "stopping", "restarting"
STOPPED, KILLED = "stopped", "killed"
"""The states of a process. Stopped and killed: it is down until a command starts it."""


class ProcessRow(TypedDict):
    """One process of a cluster, as its backend lists it."""

    name: str
    kind: str
    """worker, broker, redis or api; in containers also lab."""
    state: str
    pid: int | None
    restarts: int
    short_lives: int
    """How often in a row it has ended within seconds of its start."""
    last_exit: str
    """How its last process ended: "exit 86", "SIGKILL"; empty if none has."""
    restart_in_s: float | None
    """The pause before its next start, while it keeps ending."""
    up_s: float | None
    health: NotRequired[str]
    """The state of a container's health check, if it has one."""
    unstarted: NotRequired[bool]
    """Whether its container was made and never started: ``up`` was interrupted, or its port is taken."""
    container_name: NotRequired[str]
    """The name of the process's container, for ``docker`` commands."""


class UnrecordedFault(TypedDict):
    """A fault that is missing from the history, because the broker could not record it."""

    fault: str
    target: str
    wall: NotRequired[float]
    """When, in seconds since 1970."""


class SupervisorStatus(TypedDict):
    """What a supervisor answers when it is asked for its status."""

    processes: list[ProcessRow]
    unrecorded_faults: list[UnrecordedFault]
    pid: int
    """The supervisor's."""
    detached: bool
    """Whether the cluster outlives the program that started it."""


MAX_WORKERS = 256
LONG_LIFE_S = 10.0
"""A process that lived this long is able to run: its end is not counted as a failed start."""
STARTED = "--- {name} started at "
"""How the line begins that marks each start of a process in its log."""


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of labkit in the Python that runs now.

    ``-P``: a file in the current folder never takes the place of a module of Python's.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def check_worker_count(n: int) -> None:
    """Raise InvalidInput unless a cluster can have ``n`` workers."""
    if not (isinstance(n, int) and 0 <= n <= MAX_WORKERS):
        raise InvalidInput(
            N_("a cluster cannot have {n} workers; 0 to {most} are possible"), n=n, most=MAX_WORKERS
        )


def check_fits(fault: str, name: str, state: str) -> None:
    """Raise ClusterError if this command does not apply to a process in this state."""
    fits = {
        "kill": (RUNNING, PAUSED, STOPPING),
        "stop": (RUNNING, PAUSED, RESTARTING),
        "pause": (RUNNING,),
        "resume": (PAUSED,),
        "start": (STOPPED, KILLED, STOPPING, RESTARTING),
    }
    if state not in fits.get(fault, ()):
        raise ClusterError(
            N_("{name} is {state}: {fault} does not apply"), name=name, state=state, fault=fault
        )


OWN_FAULTS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGPROF", "SIGXCPU",
              "SIGXFSZ")  # fmt: skip
"""Signals by which a process ends because of what it does: a broken library, a limit that it exceeds."""


def was_killed_from_outside(code: int) -> bool:
    """Return whether a process ended by a signal that another process sent; ``code`` as ``Popen.returncode``.

    A SIGKILL may also come from the kernel, when memory is short: see ``supervisor.memory``.
    """
    return code < 0 and how_it_ended(code) not in OWN_FAULTS


def how_it_ended(code: int) -> str:
    """Return a process's end as text ("exit 86", "SIGKILL"); ``code`` is as ``Popen.returncode``."""
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
