"""Starts a supervisor, and holds the pipe on which its life depends.

The supervisor ends when its standard input does. Only this process has the other end of that pipe: when this
process ends, for whatever reason, the operating system closes the pipe. ``let_go`` does the same on purpose;
``detach`` lets the supervisor outlive this process.

A process that is forked from this one would hold a copy of the pipe and keep the cluster alive, so it closes
its copy first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any, TypedDict

from labkit.cluster.processes import python
from labkit.cluster.run_folder import State
from labkit.cluster.supervisor.control import decode_error
from labkit.core.errors import N_, ClusterError

if TYPE_CHECKING:
    from labkit.cluster.supervisor.plan import Plan

DOWN_S = 6.0
"""A supervisor needs 3 s at most to end its cluster; one that takes longer is broken, and is killed."""


class Started(TypedDict):
    """A supervisor's report when all processes have been started."""

    state: State
    ended: list[str]
    """Processes of a crashed predecessor that were still alive and have been ended."""


class Lifeline:
    """A supervisor, started with this plan in this environment."""

    def __init__(self, plan: Plan, environ: dict[str, str]) -> None:
        # If an interruption comes here or right afterwards, the garbage collector closes the pipe.
        self._process = subprocess.Popen(
            python("labkit.cluster.supervisor", plan["folder"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=environ,
            **_own_session(),
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipe = self._process.stdin
        self._answers = self._process.stdout
        _lifelines.add(self)
        try:
            self._pipe.write(json.dumps(plan).encode() + b"\n")
        except BrokenPipeError:
            pass  # it has ended already; ``answer`` reports why

    def answer(self) -> Started:
        """Return the supervisor's report when all processes are started. Raises the error that it reports."""
        printed = self._answers.read()  # until the supervisor closes it
        try:
            answer = json.loads(printed)
        except ValueError:
            lines = printed.decode("utf-8", "replace").strip().splitlines()
            raise ClusterError(
                N_("the cluster's supervisor did not start: {line}"),
                line=lines[-1] if lines else "it printed nothing",
            ) from None
        if "error" in answer:
            raise decode_error(answer["error"])
        started: Started = answer
        return started

    def detach(self) -> None:
        """Let the cluster outlive this process."""
        self._pipe.write(b"detach\n")
        self._close_pipes()
        _detached.append(self._process)

    def let_go(self) -> None:
        """Have the supervisor end the cluster, and wait until it has; kill a supervisor that does not end."""
        self._close_pipes()
        try:
            self._process.wait(DOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _close_pipes(self) -> None:
        self._pipe.close()
        self._answers.close()


_lifelines: weakref.WeakSet[Lifeline] = weakref.WeakSet()
_detached: list[subprocess.Popen[bytes]] = []


def collect_detached() -> None:
    """Collect detached supervisors that have ended; until then they are zombies of this process."""
    _detached[:] = [process for process in _detached if process.poll() is None]


def _close_in_forked_child() -> None:
    for lifeline in list(_lifelines):
        lifeline._close_pipes()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_forked_child)


def _own_session() -> dict[str, Any]:
    """Ctrl-C in the terminal reaches this process only, which ends the cluster in order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
