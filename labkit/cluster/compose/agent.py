"""The agent: between a container's init and its one process, so that the lab can do faults without Docker.

``python -m labkit.cluster.compose.agent ROLE COMMAND ...`` is what the containers of broker and workers run::

    init (reaps, forwards signals)
      └── agent        its ear: the Unix socket NAME.sock in LABKIT_CONTROL, a volume that the lab has too
            └── COMMAND   the worker or the broker

A notebook in the ``lab`` container has no Docker socket, for that would be root on the host. What it may do
to a process it asks that process's agent: kill, stop, start, pause, resume, and nothing else. The socket is a
file: each service has a volume of its own for it, and the lab has them all, so learners' code in one worker
reaches no other process. None of it crosses a network, and a worker that is cut off can still be asked.

* A process that ends unasked ends the container with its exit code, so that Docker starts it again
  (``unless-stopped``), counts that, and shows it.
* One that was killed or stopped through the agent stays down, and the agent waits for ``start``. For Docker
  its container runs all the while; so the host's ``start`` asks the agent too (``--ask NAME FAULT``, by
  ``docker exec``).
* SIGTERM (``docker compose stop``) stops the process politely, then ends the agent. Docker's own patience
  (``stop_grace_period``) is the limit.
* An elastic worker has no name in the compose file; its container's gives it one. Such a name does not come
  again, so its agent takes the socket along when it ends, and removes those of agents that could not.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor import control
from labkit.cluster.supervisor.child import RESTARTING, WORKER, Child
from labkit.cluster.supervisor.control import MAX_CONNECTIONS, ControlServer, Request
from labkit.cluster.supervisor.wakeups import Wakeups
from labkit.core.errors import N_, ClusterError, LabkitError
from labkit.support.settings import Settings

log = logging.getLogger("labkit.agent")

DRAIN_S = 3600.0
"""The agent's own patience with a process that drains: none, because Docker's ends earlier."""
KNOCK_S = 0.5
ASK = "--ask"
RUN_FILE = "container"
"""In the broker's folder: in which container the history is written. Another one begins another history."""


class Contained(Child):
    """A child whose output is the container's, and which Docker starts again, not we."""

    def _open_log_file(self) -> int:
        return os.dup(1)

    def _open_log(self) -> int:
        return self._open_log_file()  # Docker says itself when it started


class Agent:
    """One child, and the loop that looks after it; ``run`` returns the exit code of the container."""

    def __init__(self, child: Contained, ear: Path | None) -> None:
        self._child = child
        self._selector = selectors.DefaultSelector()
        self._wakeups = Wakeups(self._selector)
        self._control = None
        if ear is not None:
            self._control = ControlServer(self._selector, "", self._on_request, _listen(ear))

    def run(self) -> int:
        """Start the process and look after it until it ends unasked, or until the container is to end."""
        self._wakeups.hear_signals()
        self._child.start(time.monotonic())
        ending = False
        while True:
            now = time.monotonic()
            self._child.collect(now)
            if self._child.state == RESTARTING:
                return _as_a_shell_says(self._child.last_code)
            if self._wakeups.end_asked and not ending:
                ending = True
                self._child.stop(now)
            if ending and self._child.pid is None:
                return 0
            for key, _events in self._selector.select(self._timeout_s(now)):
                key.data()
            if self._control is not None:
                self._control.sweep(time.monotonic())

    def _timeout_s(self, now: float) -> float | None:
        due = self._control.next_deadline() if self._control is not None else None
        return None if due is None else max(0.0, due - now)

    def close(self) -> None:
        """Close the ear."""
        if self._control is not None:
            self._control.close()
        self._wakeups.close()

    # --- what the lab asks ----------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        if request.do == "status":
            request.answer(self._child.picture(time.monotonic()))
        elif request.do == "check":
            self._child.check(str(request.parameters.get("fault")))
            request.answer(None)
        elif request.do == "act":
            self._act(request, str(request.parameters.get("fault")))
        else:
            raise ClusterError(N_("the agent of {name} cannot {do}"), name=self._child.name, do=request.do)

    def _act(self, request: Request, fault: str) -> None:
        child, now = self._child, time.monotonic()
        child.check(fault)
        do: dict[str, Callable[[], None]] = {
            "kill": child.kill, "pause": child.pause, "resume": child.resume,
            "start": lambda: child.start(now), "stop": lambda: child.stop(now),
        }  # fmt: skip
        do[fault]()
        log.info("%s: %s, asked for by the lab", child.name, fault)
        if fault in ("kill", "stop") and child.pid is not None:
            child.when_ended.append(lambda: request.answer(None))
        else:
            request.answer(None)


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens in a file, in place of the one that an agent before us has left.

    It is renamed into place when it listens: nobody finds one that would still refuse.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(fresh))
    fresh.chmod(0o600)
    listener.listen(MAX_CONNECTIONS)
    fresh.replace(path)
    return listener


def remove_dead_ears(folder: Path) -> None:
    """Remove the sockets in ``folder`` at which nobody listens: their containers were killed and removed."""
    for path in folder.glob("*.sock"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(KNOCK_S)
            try:
                knocking.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # somebody is there, and slow; or another agent has removed it at the same moment


def _as_a_shell_says(code: int | None) -> int:
    if code is None:
        return 1  # it could not even be started
    return code if code >= 0 else 128 - code


def name_of(role: str, settings: Settings) -> str:
    """Return what the process is called: a worker by WORKER_ID, or else after its container."""
    return role if role != WORKER else settings.worker_id or f"{WORKER}-{socket.gethostname()}"


def begin_history(folder: RunFolder) -> None:
    """Put an earlier run's history aside, if this container is another one than wrote it.

    The same container again (a broker that was killed and started) goes on with its own history.
    """
    container = folder.path / RUN_FILE
    here = socket.gethostname()
    before = container.read_text(encoding="ascii") if container.exists() else ""
    if before != here:
        folder.begin_history()
        container.write_text(here, encoding="ascii")


def ask(name: str, fault: str) -> int:
    """Have the agent of ``name`` check and do a fault; return 0, or 1 after saying why not."""
    try:
        folder = Settings.from_environment().control
        assert folder is not None
        control.ask(folder / f"{name}.sock", "", "act", fault=fault)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Be the agent of the process that ``arguments`` name; return the container's exit code."""
    if arguments[0] == ASK:
        return ask(*arguments[1:])
    role, *command = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environment()
        name = name_of(role, settings)
        if role != WORKER and settings.folder is not None:
            begin_history(RunFolder(settings.folder))
        environment = {"WORKER_ID": name} if role == WORKER else {}
        child = Contained(name, role, command, environment, RunFolder(Path("/nowhere")), DRAIN_S)
        is_elastic = role == WORKER and settings.worker_id is None
        if is_elastic and settings.control is not None:
            remove_dead_ears(settings.control)
        ear = settings.control and settings.control / f"{name}.sock"
        agent = Agent(child, ear)
    except (LabkitError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return agent.run()
    finally:
        agent.close()
        if is_elastic and ear is not None:
            ear.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
