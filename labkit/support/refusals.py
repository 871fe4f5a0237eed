"""What the operating system refuses: the one table from ``errno`` to a sentence with the next step.

A full disk, a used-up quota, a limit on the size of files, too many open files and the like are neither a bug
in labkit nor wrong input. ``refusal`` names them. Everything that would otherwise report an unexpected error
as a bug asks it first: the command line, the panel, the supervisor.
"""

from __future__ import annotations

import errno
import os

from labkit.core.errors import N_, LabkitError


class Refused(LabkitError):
    """The operating system refused a file, a descriptor or memory."""


# Not every system has every number.
_OF_FILES = {
    "ENOSPC": N_("No space is left on the disk. Make room, then try again."),
    "EDQUOT": N_("Your quota on this disk is used up. Delete files of yours, then try again."),
    "EFBIG": N_(
        "A file has reached the largest size allowed here. 'ulimit -f' shows the limit; raise it, or use "
        "another disk."
    ),
    "EROFS": N_("This disk is read-only. Use a folder on another one."),
    "EIO": N_("The disk reports an error. Check it, or use another one."),
    "ENAMETOOLONG": N_("A file name or a path is too long for this disk. Use shorter names."),
    "EACCES": N_("This user lacks the permission. Use a folder of your own, or change its permissions."),
    "EPERM": N_("This system does not permit it to this user. Use a folder of your own."),
    "ENOTDIR": N_("A part of the path is a file, not a folder. Correct the path."),
    "EISDIR": N_("This is a folder where a file is expected. Correct the path."),
    "ELOOP": N_("Symbolic links lead round in a circle. Correct the path."),
    "ESTALE": N_("The network drive has lost this file. Mount it again, or use another disk."),
    "ENODEV": N_("The disk has gone. Connect it again, or use another one."),
    "ENXIO": N_("The disk has gone. Connect it again, or use another one."),
    "EMLINK": N_("The disk takes no more links to a file or folder. Use another one."),
}
_OF_THE_PROCESS = {
    "EMFILE": N_("Too many files are open in this process. 'ulimit -n' shows the limit; raise it."),
    "ENFILE": N_("Too many files are open on this machine. End other programs, then try again."),
    "ENOMEM": N_("This machine has no memory left. End other programs, then try again."),
}


def _numbers(table: dict[str, str]) -> dict[int, str]:
    return {getattr(errno, name): words for name, words in table.items() if hasattr(errno, name)}


_FILES, _PROCESS = _numbers(_OF_FILES), _numbers(_OF_THE_PROCESS)

NO_MORE_DATA = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO") if hasattr(errno, name)
)
"""What a write to an open file reports when the disk takes no more."""


def refusal(error: BaseException) -> Refused | None:
    """Return what the system has refused, with the file and the next step; None if ``error`` is no refusal.

    ZeroMQ's errors carry an ``errno`` too, and count.
    """
    number = getattr(error, "errno", None)
    words = _FILES.get(number, _PROCESS.get(number)) if isinstance(number, int) else None
    if words is None:
        return None
    path = getattr(error, "filename", None)
    if not isinstance(path, str | bytes | os.PathLike):
        return Refused(words)
    return Refused(N_("{path}: {why}"), path=os.fsdecode(path), why=Refused(words))


def is_about_files(error: OSError) -> bool:
    """Return whether another folder may help: False for too many open files, or no memory."""
    return error.errno not in _PROCESS
