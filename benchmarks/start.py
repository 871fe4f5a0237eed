"""From nothing to three ready workers: a fresh Python opens a cluster, Redis and all.

The target counts from the call of ``open_cluster``, imports included, until the broker reports all three as
ready. The time that a user waits in a shell, Python's own start included, is shown beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import BenchFailed, Figure, Section, Target
from benchmarks.setup import Setup
from labkit.core.errors import N_
from labkit.support.i18n import _
from labkit.support.signals import sigint_blocked

TITLE = N_("from nothing to three ready workers")
TARGET = Target(1.2, at_most=True)
WORKERS = 3
END_S = 15.0
ROOT = Path(__file__).resolve().parents[1]


def measure(setup: Setup) -> Section:
    """Return the seconds until three workers are ready, one fresh Python a round."""
    one_start()  # from now on, the files are in the system's cache
    starts = [one_start() for _ in range(setup.rounds)]
    figures = [
        Figure("open_cluster", "open_cluster(3)", [ready for ready, _whole in starts], "s", TARGET),
        Figure("with_python", _("with Python's own start"), [whole for _ready, whole in starts], "s"),
    ]
    return Section(figures, [_("a fresh Python each time; its own Redis server comes up too")])


def one_start() -> tuple[float, float]:
    """Return the seconds from ``open_cluster``, and from the start of Python, to three ready workers."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with sigint_blocked():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.start"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
    with process:
        assert process.stdin is not None and process.stdout is not None
        try:
            line = process.stdout.readline()
            process.stdin.close()  # now it takes its cluster down
            process.wait(END_S)
        except BaseException:  # also Ctrl-C; its cluster ends when it does
            process.kill()
            raise
    if not line:
        raise BenchFailed(N_("a fresh Python could not open a cluster; its output stands above"))
    opened, ready = json.loads(line)
    return ready - opened, ready - began


def _open_and_print() -> None:
    """In the fresh Python: open a cluster, print both instants, and wait for the end of the input.

    ``time.monotonic`` is the same clock in all processes of one machine.
    """
    opened = time.monotonic()
    from labkit.cluster import open_cluster

    with open_cluster(WORKERS):
        print(json.dumps([opened, time.monotonic()]), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _open_and_print()
