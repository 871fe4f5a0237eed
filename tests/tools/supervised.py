"""A supervisor under test: scripts that stand in for broker and workers, a plan of them, requests to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

from labkit.cluster.local.lifeline import Lifeline
from labkit.cluster.local.plan import environment
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor.control import ask
from labkit.cluster.supervisor.plan import Plan
from labkit.support import process_groups
from labkit.support.settings import Settings
from tests.tools.waiting import wait_until

POLITE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", os.environ["WORKER_ID"], flush=True)
while True: signal.pause()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()
"""

SHORT_LIVED = "import sys; print('I cannot live'); sys.exit(3)"

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True); child.wait()
"""


def make_plan(
    folder: RunFolder,
    worker: str | list[str] = POLITE,
    workers: int = 1,
    private: bool = True,
    drain_s: float = 5.0,
    api: str | None = None,
) -> dict[str, Any]:
    """Return a plan whose broker is polite, and whose workers run ``worker``: a script or a command.

    ``api``: a script in place of the HTTP side; None: there is none.
    """
    command = [sys.executable, "-c", worker] if isinstance(worker, str) else worker
    part = {"command": [sys.executable, "-c", api], "environment": {"WORKER_ID": "api"}}
    return {
        **({} if api is None else {"api": part}),
        "folder": str(folder.path),
        "private": private,
        "workers": workers,
        "drain_s": drain_s,
        "broker": {"command": [sys.executable, "-c", POLITE], "environment": {"WORKER_ID": "broker"}},
        "redis": None,
        "worker": {"command": command, "environment": {}, "own": {}},
        "about": {"name": "test"},
    }


class Cluster:
    """A supervisor under test, and the requests to it."""

    def __init__(self, folder: RunFolder, plan: dict[str, Any]) -> None:
        self.folder = folder
        self.lifeline = Lifeline(cast(Plan, plan), environment(Settings.from_environment()))
        try:
            self.started = self.lifeline.answer()
        except BaseException:
            self.lifeline.let_go()
            raise
        self.state = self.started["state"]
        self.token = folder.read_token()

    def ask(self, do: str, **parameters: Any) -> Any:
        return ask(self.state["control_port"], self.token, do, 10.0, **parameters)

    def act(self, fault: str, name: str, recorded: bool = True) -> None:
        self.ask("act", fault=fault, name=name, recorded=recorded)

    def row(self, name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.ask("status")["processes"]
        return next(row for row in rows if row["name"] == name)

    def names(self) -> list[str]:
        return [row["name"] for row in self.ask("status")["processes"]]

    def supervisor(self) -> int:
        pid: int = self.state["processes"]["supervisor"][0]
        return pid

    def log(self, name: str) -> str:
        path = self.folder.log_file(name)
        return path.read_text() if path.exists() else ""

    def wait_until_up(self, name: str = "worker-1") -> dict[str, Any]:
        """Wait until the script has said that it hears signals, since its last start."""
        wait_until(lambda: self.log(name).rpartition(" ---\n")[2].startswith("up"), what=f"{name} to be up")
        return self.row(name)

    def all_processes(self) -> dict[str, tuple[int, str]]:
        return {
            name: (pid, born)
            for name, (pid, born) in (self.folder.read_state() or self.state)["processes"].items()
        }


Open = Callable[..., Cluster]


def gone(marks: dict[str, tuple[int, str]]) -> bool:
    return not any(process_groups.is_alive(*mark) for mark in marks.values())
