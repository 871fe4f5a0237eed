"""Starts a supervisor, and holds the pipe on which its life depends.

The supervisor ends when its standard input does. The other end of that pipe is here and nowhere else: when
this process ends, however it ends, the operating system closes it. ``let_go`` does the same on purpose;
``detach`` tells the supervisor to live on.

A process that is forked from this one would hold a copy of the pipe and keep the cluster alive; so it closes
its copy first thing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from typing import Any

from labkit.cluster.processes import python
from labkit.cluster.supervisor.control import decode_error
from labkit.core.errors import N_, ClusterError

DOWN_S = 6.0
"""A supervisor needs 3 s at most to end its cluster; one that takes longer is broken, and is ended."""


class Lifeline:
    """A supervisor, started with this plan in this environment."""

    def __init__(self, plan: dict[str, Any], environ: dict[str, str]) -> None:
        # If we are interrupted in here or right afterwards, the pipe is closed as garbage.
        self._process = subprocess.Popen(
            python("labkit.cluster.supervisor", plan["folder"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            env=environ, **_own_session(),
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipe = self._process.stdin
        self._answers = self._process.stdout
        _lifelines.add(self)
        try:
            self._pipe.write(json.dumps(plan).encode() + b"\n")
        except BrokenPipeError:
            pass  # it has ended at once; ``answer`` knows why

    def answer(self) -> dict[str, Any]:
        """Wait for what the supervisor says when it has started everybody else; raise what it reports."""
        said = self._answers.read()  # until it closes it
        try:
            answer: dict[str, Any] = json.loads(said)
        except ValueError:
            lines = said.decode("utf-8", "replace").strip().splitlines()
            raise ClusterError(
                N_("the cluster's supervisor did not start: {line}"),
                line=lines[-1] if lines else "it said nothing",
            ) from None
        if "error" in answer:
            raise decode_error(answer["error"])
        return answer

    def detach(self) -> None:
        """Let the cluster live on without this process."""
        self._pipe.write(b"detach\n")
        self._close_pipes()
        _detached.append(self._process)

    def let_go(self) -> None:
        """Have the supervisor take everything down, and wait until it has; one that does not is killed."""
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
    """Take note of detached supervisors that have ended: the system keeps a trace of a child until then."""
    _detached[:] = [process for process in _detached if process.poll() is None]


def _close_in_forked_child() -> None:
    for lifeline in list(_lifelines):
        lifeline._close_pipes()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_forked_child)


def _own_session() -> dict[str, Any]:
    """Ctrl-C in the terminal is for this process; it ends the cluster in order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
