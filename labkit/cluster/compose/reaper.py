"""Removes a private cluster's containers when the process that opened it ends, however it ends.

``python -m labkit.cluster.compose.reaper COMMAND ...`` waits for the end of its standard input, a pipe whose
other end only the opener holds, then runs COMMAND (``docker compose down``). The opener's ``close`` also
closes the pipe, so there is only one way down. Containers have no parent that could do this: they belong to
Docker's daemon, and would outlive a notebook that was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence

from labkit.cluster.processes import python


class Reaper:
    """A child process that runs ``command`` in ``environ`` when this process ends, or at ``let_go``."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            python("labkit.cluster.compose.reaper", *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(environ),
            start_new_session=sys.platform != "win32",
        )
        _reapers.add(self)

    def let_go(self, timeout_s: float) -> str:
        """Run the command, wait for its end, and return its error output; "" if it succeeded."""
        self._close_pipe()
        assert self._process.stderr is not None
        try:
            _, complaint = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, complaint = self._process.communicate()
            complaint += b"\nit took too long"
        return complaint.decode("utf-8", "replace") if self._process.returncode else ""

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
            self._process.stdin = None


_reapers: weakref.WeakSet[Reaper] = weakref.WeakSet()


def _close_in_forked_child() -> None:
    for reaper in list(_reapers):
        reaper._close_pipe()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_forked_child)


def main(command: Sequence[str]) -> int:
    """Wait for the end of the standard input, then run ``command``; return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the opener
    while os.read(0, 4096):
        pass
    # Keep the command's output until it has ended: the reader of ours may be gone, and writing to a closed
    # pipe would end the command.
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if ran.returncode != 0:
        try:
            os.write(2, ran.stdout)
        except BrokenPipeError:
            pass  # the opener has ended
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
