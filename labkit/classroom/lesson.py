"""A lesson: begins in a language, has checkpoints, and proves at its end that nothing is left behind.

::

    lesson = begin("en")
    cluster = lesson.open("cluster", open_cluster, workers=3)
    lesson.checkpoint(1, len(pictures) == 12)
    lesson.end()

A checkpoint that asks ``lesson.checkpoint(1, right, answer, expected)`` turns green only for a learner who
has looked: the answer is a figure of this very run. Until it is written, the line begins with a hollow mark.

``begin`` sets the language for this process and, through ``LABKIT_LANG``, for its child processes. A
checkpoint prints one line or raises AssertionError: a class sees where it stands, and a test that runs the
notebook fails where a student would be stuck.

``lesson.open`` gives each object a name that is unique in the kernel. A cell that runs again closes the
object it had opened before, and so does ``begin``. Otherwise each run would leave a cluster behind, and its
panel would go on showing it.

"Nothing left behind" means: no child process, no listening port, no thread of labkit and no other thread that
would keep the kernel from ending, except those that existed at the beginning.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import psutil

from labkit.classroom.error_display import install_error_display
from labkit.core.errors import N_, LabkitError
from labkit.support import i18n
from labkit.support.i18n import _, ngettext
from labkit.support.timing import cores

END_S = 10.0
"""How long processes and threads may take to end."""

SHORTEST_PREFIX = 6
"""Characters of an id that name it, as tables and logs show it."""

OURS = ("labkit", "slow-server")
"""Prefixes of the names of labkit's threads."""

P = ParamSpec("P")
T = TypeVar("T")

_opened: dict[str, Any] = {}
"""Objects that this kernel's lessons have opened, by name. Shared, because ``begin`` may run again, too."""

# Processes that Python's own multiprocessing keeps until the interpreter ends.
KEPT_BY_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


class LeftBehind(LabkitError):
    """A lesson has ended but something that it started still exists."""


class NotYet(LabkitError, AssertionError):
    """A checkpoint is not reached."""


DONE = object()
"""The answer to a checkpoint that asks nothing."""


def _agree(answer: object, expected: object, within: float) -> bool:
    if isinstance(answer, Real) and isinstance(expected, Real):
        return abs(float(answer) - float(expected)) <= within * abs(float(expected)) + 1e-9
    if isinstance(answer, str) and isinstance(expected, str):
        said, wanted = answer.strip(" .…").lower(), expected.lower()
        return said == wanted or (len(said) >= SHORTEST_PREFIX and wanted.startswith(said))
    return answer == expected


class Lesson:
    """See the module's head. Made by `begin`."""

    def __init__(self) -> None:
        self._before = set(_left_behind())
        self._kept: set[str] = set()

    def open(self, name: str, open_: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``open_(*args, **kwargs)`` after closing the object that this kernel opened as ``name``
        before.

        The object has a method ``close`` (clusters, servers) or ``shutdown`` (executors).
        """
        _close(name)
        opened = _opened[name] = open_(*args, **kwargs)
        return opened

    def checkpoint(
        self, number: int, right: object, answer: object = DONE, expected: object = None, within: float = 0.0
    ) -> None:
        """Print one line if ``right`` is true and the learner's ``answer`` is the ``expected`` one.

        The answer is something that only this run shows: a number (right if it is off by at most the part
        ``within``) or a text (right in any case; of an id its first characters). None: not written yet, which
        is said and is no error, so that all cells of a notebook can be run. Raises NotYet with the next step.
        """
        if not right:
            raise NotYet(
                N_("Checkpoint {number}: not yet. Run the cells of this section again, from its heading."),
                number=number,
            )
        if answer is None:
            print(
                "○ "
                + _(
                    "Checkpoint {number}: the measurements are there, your answer is missing. Write it in "
                    "place of None, and run this cell again."
                ).format(number=number)
            )
            return
        if answer is not DONE and not _agree(answer, expected, within):
            raise NotYet(
                N_(
                    "Checkpoint {number}: not yet; {answer} is not what this run shows. Look at it once more "
                    "(a number has a point and no comma), and run this cell again"
                ),
                number=number,
                answer=repr(answer),
            )
        print("✔ " + _("Checkpoint {number}: right.").format(number=number))

    def keep(self, name: str, *, until: object) -> None:
        """Close the object opened as ``name`` if ``until`` is true; otherwise leave it to the learner.

        So a run of all cells does not take away what the learner is to play with at the end.
        """
        if until:
            self._kept.discard(name)
            _close(name)
        else:
            self._kept.add(name)

    def end(self) -> None:
        """Print that nothing is left behind. Raises LeftBehind with a list otherwise.

        Waits up to ``END_S`` for processes and threads that are ending. While something is kept for the
        learner, it says so instead.
        """
        if self._kept:
            text = _(
                "Still open, and yours: {names}. When you have finished, write finished = True and run this "
                "cell again; at the latest it ends with this notebook's kernel."
            )
            print("○ " + text.format(names=", ".join(sorted(self._kept))))
            return
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
    """Return a new lesson in this language ("es" or "en"), after one line about the machine.

    Closes what an earlier lesson in this kernel has left open. Clusters of a lesson start their own Redis,
    because lessons empty and kill it; the learner's own (REDIS_URL) must not suffer that. In the ``lab``
    container the variable names the Redis of the cluster.
    """
    i18n.set_language(lang)
    os.environ["LABKIT_LANG"] = lang
    if "LABKIT_CONTROL" not in os.environ:
        os.environ.pop("REDIS_URL", None)
    install_error_display()
    for name in list(_opened):
        _close(name)
    count = cores()
    print(
        ngettext("Python {version} · {n} core", "Python {version} · {n} cores", count).format(
            version=platform.python_version(), n=count
        )
    )
    return Lesson()


def _close(name: str) -> None:
    """Close the object opened as ``name``, if there is one; it may be closed already."""
    former = _opened.pop(name, None)
    if former is not None:
        (former.close if hasattr(former, "close") else former.shutdown)()


def check_machine(lang: str) -> None:
    """Print what ``python -m labkit doctor`` finds on this machine, in this language."""
    from labkit.cli import main

    i18n.set_language(lang)
    install_error_display()
    main(["doctor"])


def _left_behind() -> list[str]:
    """Return everything that exists now and that a lesson could leave behind, each as a line of text."""
    here = psutil.Process()
    found = []
    for child in here.children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and not any(k in command for k in KEPT_BY_PYTHON):
                found.append(_("process {pid} ({command})").format(pid=child.pid, command=command[:60]))
        except psutil.NoSuchProcess:
            continue
    for connection in here.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            found.append(_("port {port}").format(port=connection.laddr.port))
    for thread in threading.enumerate():
        # Jupyter's own daemon threads come and go.
        if not thread.daemon or thread.name.startswith(OURS):
            found.append(_("thread {name}").format(name=thread.name))
    return found
