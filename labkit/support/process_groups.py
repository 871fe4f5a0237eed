"""Identifies a process by its number and birth, and ends processes that a crashed cluster left behind.

Process numbers are reused, after a reboot or simply later. So the cluster records for each of its processes
the number *and* the time of its birth, and never touches a process with another birth.

On Linux the birth is read from ``/proc`` (clock ticks since boot, with the boot's own id). That is cheap, and
setting the clock does not change it. Elsewhere psutil provides it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_S = 0.005


def birth(pid: int) -> str | None:
    """Return a mark of the birth of process ``pid``, or None if there is no such living process.

    Equal marks of one number mean the same process. A process that has ended and only waits to be collected
    by its parent (a zombie) counts as gone, but not while threads of it are still ending, because they hold
    its ports and locks.
    """
    if sys.platform != "linux":
        return _birth_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name is in brackets and may contain anything; after it come fields 3 (state) to 52.
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
        return "another user's"


def is_alive(pid: int, born: str) -> bool:
    """Return whether the process with this number and birth still lives."""
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
    """Kill that process with its group; return whether it is gone. Spares a later process of that number."""
    if is_alive(pid, born):
        signal_group(pid, KILL)
    return wait_until_gone(pid, born, timeout_s)


if sys.platform == "win32":
    KILL = signal.SIGTERM  # Windows has a single way to end a process, and this is Python's name for it
else:
    KILL = signal.SIGKILL


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process and its group; do nothing if they are gone.

    Each process of a cluster leads a group of its own. Windows has no groups: there only the process gets it.
    """
    try:
        if sys.platform == "win32":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)
    except ProcessLookupError:
        pass  # it has ended already
    except OSError:
        # The process may have ended: macOS refuses a signal to a group of zombies, Windows to an ended
        # process, and neither has an error of its own for that.
        if birth(pid) is not None:
            raise
