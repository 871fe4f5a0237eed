"""UTF-8 for file names where the locale is ASCII's (``LC_ALL=C`` with ``PYTHONUTF8=0``).

In such a locale Python cannot name a file ``piña.png``: each attempt raises UnicodeEncodeError. Today's files
have names in UTF-8, and Python itself switches to UTF-8 in such a locale unless it is told not to. So
labkit's command line starts itself again in UTF-8 mode, and its child processes start in it.
"""

from __future__ import annotations

import os
import sys


def is_needed() -> bool:
    """Return whether this process can only name files in ASCII."""
    return sys.getfilesystemencoding() == "ascii"


def variables() -> dict[str, str]:
    """Return the environment variable that puts a child process into UTF-8 mode, if that is needed."""
    return {"PYTHONUTF8": "1"} if is_needed() else {}


def start_again_if_needed() -> None:
    """Replace this process by the same command in UTF-8 mode, if that is needed. Its pid stays."""
    if is_needed() and os.environ.get("PYTHONUTF8") != "1":  # otherwise -X utf8=0 would start it for ever
        os.environ.update(variables())
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
