"""Limits for a stranger's code: memory, processes, files, processor time, and loopback as its only network.

The limits are set in the learner's process before its code runs, and its children inherit them. The
superuser may have any number of processes and Windows has no such limits: there a check's own limits hold
(`labkit.practice.learner`). A network of its own takes Linux, and the right to make one. ``lacking`` names in
one line what this system cannot do.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from labkit.core.errors import N_, LabkitError

MEMORY_BYTES = 4 << 30
"""Address space; libraries such as OpenBLAS reserve far more than they use."""
CHECK_MEMORY_BYTES = 2 * MEMORY_BYTES
FILE_BYTES = 64 << 20
OPEN_FILES = 256
CPU_S = 60
PROCESSES = 256
"""Counted for the user, not for one process: a bound on a fork bomb."""


def restrict() -> None:
    """Apply the limits to this process; call it between fork and exec."""
    _limit(AS=MEMORY_BYTES, FSIZE=FILE_BYTES, NOFILE=OPEN_FILES, CPU=CPU_S, NPROC=PROCESSES, CORE=0)


def restrict_check() -> None:
    """Limit a whole check: its broker and workers import the learner's code, too."""
    _limit(AS=CHECK_MEMORY_BYTES, FSIZE=FILE_BYTES, CORE=0)


def _limit(**limits: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    for short, most in limits.items():
        name = getattr(resource, f"RLIMIT_{short}", None)
        if name is None:
            continue
        _soft, hard = resource.getrlimit(name)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (limit, limit))


# --- the network --------------------------------------------------------------------------------------------

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
"""Of unshare(2)."""
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""Of netdevice(7)."""


def loopback_only() -> bool:
    """Leave every network except a loopback of this process's own; return whether the system permits it.

    It is for this process alone and those that it starts. Call it before there is a second thread.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    unshare: Any = ctypes.CDLL(None, use_errno=True).unshare
    user, group = os.getuid(), os.getgid()
    if unshare(_NEW_NET) != 0:
        if unshare(_NEW_USER | _NEW_NET) != 0:
            return False
        for name, words in (
            ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{name}", "w") as file:
                file.write(words)
    _raise_loopback()
    return True


def _raise_loopback() -> None:
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _GET_FLAGS, request), 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def lacking() -> LabkitError | None:
    """Return what this system cannot keep a stranger's code from; None if it can do everything."""
    if sys.platform == "win32":
        return LabkitError(
            N_("This system limits neither memory, files nor network of the hand-ins: use Linux for those.")
        )
    return None if _can_leave() else LabkitError(N_("This system cannot keep hand-ins from the network."))


def _can_leave() -> bool:
    """Try it in a process of its own."""
    import subprocess

    code = "import sys; from labkit.practice.limits import loopback_only as only; sys.exit(not only())"
    return subprocess.run([sys.executable, "-P", "-c", code], stderr=subprocess.DEVNULL).returncode == 0
