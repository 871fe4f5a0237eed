"""A lesson: it begins in a language, has checkpoints, and at its end proves that it leaves nothing behind.

::

    lesson = begin("en")
    lesson.checkpoint(1, len(pictures) == 12)
    lesson.end()

``begin`` sets the language for this process and, through ``LABKIT_LANG``, for those that it starts. A
checkpoint prints one line, or raises AssertionError: so a class sees where it stands, and a test that runs
the notebook fails where a student would be stuck.

"Nothing behind" means: no child process, no listening port, no thread of the lab's and none that would keep
the kernel from ending, beyond those that were there at the beginning.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from types import TracebackType
from typing import Any

import psutil

from labkit import i18n
from labkit.core.errors import N_, LabkitError
from labkit.i18n import _, ngettext
from labkit.measuring import cores

END_S = 10.0
"""How long what is ending may take to end."""

OURS = ("labkit", "slow-server")
"""How the names of the lab's threads begin."""

# Processes that Python's own multiprocessing keeps until the interpreter ends.
KEPT_BY_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


class LeftBehind(LabkitError):
    """A lesson ends and something that it started is still there."""


class Lesson:
    """See the module's head. Made by `begin`."""

    def __init__(self) -> None:
        self._before = set(_left_behind())

    def checkpoint(self, number: int, right: object) -> None:
        """Print one line if ``right`` is true; raise AssertionError, which says what to do, otherwise."""
        if not right:
            raise AssertionError(
                _(
                    "Checkpoint {number}: not yet. Run the cells of this section again, from its heading."
                ).format(number=number)
            )
        print("✔ " + _("Checkpoint {number}: right.").format(number=number))

    def end(self) -> None:
        """Print that nothing is left behind, or raise LeftBehind, which names what is.

        Waits a moment for what is ending.
        """
        deadline = time.monotonic() + END_S
        while left := set(_left_behind()) - self._before:
            if time.monotonic() > deadline:
                raise LeftBehind(
                    N_("this lesson leaves behind: {what}; restart the kernel, then run it from the top"),
                    what=", ".join(sorted(left)),
                )
            time.sleep(0.02)
        print("✔ " + _("Nothing left behind: no process, no port, no thread."))


def begin(lang: str) -> Lesson:
    """Return a new lesson in this language ("es" or "en"), after one line about the machine."""
    i18n.set_language(lang)
    os.environ["LABKIT_LANG"] = lang
    _translate_errors()
    count = cores()
    print(
        ngettext("Python {version} · {n} core", "Python {version} · {n} cores", count).format(
            version=platform.python_version(), n=count
        )
    )
    return Lesson()


def _translate_errors() -> None:
    """Let a notebook say labkit's own errors in the lesson's language too, below their traceback.

    The errors themselves are English, as logs are.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:  # no notebook: a test, or a script
        return

    def show(
        shell: Any, kind: type, error: LabkitError, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        if i18n.language() != "en":
            print(i18n.translate_error(error))

    shell.set_custom_exc((LabkitError,), show)


def check_machine(lang: str) -> None:
    """Print what ``python -m labkit doctor`` finds on this machine, in this language."""
    from labkit.cli import main

    i18n.set_language(lang)
    main(["doctor"])


def _left_behind() -> list[str]:
    """Return what a lesson can leave behind and is there now, each as a line of text."""
    here = psutil.Process()
    found = []
    for child in here.children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and not any(k in command for k in KEPT_BY_PYTHON):
                found.append(f"process {child.pid} ({command[:60]})")
        except psutil.NoSuchProcess:
            continue
    for connection in here.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            found.append(f"port {connection.laddr.port}")
    for thread in threading.enumerate():
        # Notebooks and their messages have daemon threads of their own, which come and go.
        if not thread.daemon or thread.name.startswith(OURS):
            found.append(f"thread {thread.name}")
    return found
