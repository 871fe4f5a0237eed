"""Tells a process from a later one with its number, and ends what a crashed cluster left behind.

A process number is used again, after a reboot or simply later. So the cluster notes for each of its processes
the number *and* when the process was born, and touches nobody whose birth differs.

On Linux the birth is read from ``/proc`` (clock ticks since boot, with the boot's own id): that costs
nothing, and it does not move when somebody sets the clock. Elsewhere psutil is asked.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_S = 0.005


def birth(pid: int) -> str | None:
    """Return a mark of when process ``pid`` began, or None if there is no such living process.

    Two equal marks of one number are the same process. One that has ended and only waits to be collected by
    its parent (a zombie) counts as gone; while threads of it are still ending it does not, because they hold
    its ports and locks.
    """
    if sys.platform != "linux":
        return _birth_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may contain anything; what follows is fields 3 (state) to 52.
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, threads, started = fields[0], int(fields[17]), fields[19].decode()
    return None if state in b"ZX" and threads <= 1 else f"{_boot()}:{started}"


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:  # a container may hide it
        return ""


def _birth_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return "somebody else's"


def is_alive(pid: int, born: str) -> bool:
    """Return whether the process that was born then under this number still lives."""
    return birth(pid) == born


def wait_until_gone(pid: int, born: str, timeout_s: float) -> bool:
    """Wait until that process, which need not be our child, has ended; return whether it has."""
    deadline = time.monotonic() + timeout_s
    while is_alive(pid, born):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def end(pid: int, born: str, timeout_s: float = 2.0) -> bool:
    """Kill that process with its group; return whether it is gone. Another of that number is left alone."""
    if is_alive(pid, born):
        signal_group(pid, KILL)
    return wait_until_gone(pid, born, timeout_s)


if sys.platform == "win32":
    KILL = signal.SIGTERM  # Windows has one way to end a process, and this is what Python calls it
else:
    KILL = signal.SIGKILL


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process and to whatever it has started; to nobody if they are gone.

    Each process of a cluster leads a group of its own. Windows has no groups: there it is the process alone.
    """
    try:
        if sys.platform == "win32":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)
    except ProcessLookupError:
        pass  # it has ended already
    except OSError:
        # macOS refuses it to a group whose processes have all ended and only wait to be collected, Windows to
        # a process that has ended; it has no word of its own for that.
        if birth(pid) is not None:
            raise
