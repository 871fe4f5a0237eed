"""The agent: the parent of the one process in a container, so that the lab can cause faults without Docker.

The containers of broker and workers run ``python -m labkit.cluster.compose.agent ROLE COMMAND ...``::

    init (reaps, forwards signals)
      └── agent        its control socket: NAME.sock in LABKIT_CONTROL, a volume that the lab mounts too
            └── COMMAND   the worker or the broker

A notebook in the ``lab`` container has no Docker socket, because that would make it root on the host. It
sends its commands for a process to that process's agent: kill, stop, start, pause, resume, and no others. The
control socket is a Unix socket, a file: each service has a volume of its own for it, and the lab mounts all
of them. So learners' code in a named worker reaches no other agent; elastic workers share a volume. The
commands cross no network, so they also reach a worker that is cut off.

* When the process ends by itself, the container ends with its exit code. Docker then restarts the container
  (``unless-stopped``), and counts and shows the restart.
* When the process is killed or stopped through the agent, it stays down, and the agent waits for ``start``.
  Docker sees a running container meanwhile, so the host's ``start`` goes to the agent too (``--ask NAME
  FAULT``, by ``docker exec``).
* SIGTERM (``docker compose stop``) stops the process politely, then ends the agent. Docker's
  ``stop_grace_period`` is the limit.
* An elastic worker has no name in the compose file; it has the name of its container. Its container may not
  come back, so the agent removes its socket when it ends, and also the sockets that killed agents left.
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

from labkit.cluster.compose.containers import elastic_name
from labkit.cluster.compose.own_name import own_name
from labkit.cluster.processes import RESTARTING, WORKER
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor import control
from labkit.cluster.supervisor.child import Child
from labkit.cluster.supervisor.control import MAX_CONNECTIONS, ControlServer, Request
from labkit.cluster.supervisor.wakeups import Wakeups
from labkit.core.errors import N_, ClusterError, LabkitError
from labkit.support.log_output import log_to_standard_error
from labkit.support.settings import Settings

log = logging.getLogger("labkit.agent")

DRAIN_S = 3600.0
"""The agent does not limit the draining of its process: Docker's limit comes first."""
PROBE_S = 0.5
ASK = "--ask"
RUN_FILE = "container"
"""A file in the broker's folder: the container that writes the history. A new container begins a new one."""


class Contained(Child):
    """A child that shares the container's output, and that Docker restarts, not the agent."""

    def _open_log_file(self) -> int:
        return os.dup(1)

    def _open_log(self) -> int:
        return self._open_log_file()  # without a line for the start: Docker records it


class Agent:
    """One child and the loop that supervises it; ``run`` returns the exit code of the container."""

    def __init__(self, child: Contained, control_socket: Path | None) -> None:
        self._child = child
        self._selector = selectors.DefaultSelector()
        self._wakeups = Wakeups(self._selector)
        self._control = None
        if control_socket is not None and (listener := _listen_if_possible(control_socket)) is not None:
            self._control = ControlServer(self._selector, "", self._on_request, listener)

    def run(self) -> int:
        """Start the process and supervise it until it ends by itself, or until the container must end."""
        self._wakeups.receive_signals()
        self._child.start(time.monotonic())
        ending = False
        while True:
            now = time.monotonic()
            self._child.collect(now)
            if self._child.state == RESTARTING:
                return _shell_exit_code(self._child.last_code)
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
        """Close the control socket."""
        if self._control is not None:
            self._control.close()
        self._wakeups.close()

    # --- requests of the lab --------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        if request.do == "status":
            request.answer(self._child.row(time.monotonic()))
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
            "kill": child.kill,
            "pause": child.pause,
            "resume": child.resume,
            "start": lambda: child.start(now),
            "stop": lambda: child.stop(now),
        }
        do[fault]()
        log.info("%s: %s, requested by the lab", child.name, fault)
        if fault in ("kill", "stop") and child.pid is not None:
            child.when_ended.append(lambda: request.answer(None))
        else:
            request.answer(None)


def _listen_if_possible(path: Path) -> socket.socket | None:
    """Return ``_listen(path)``, or None if the disk refuses it: that is no reason not to serve."""
    try:
        return _listen(path)
    except OSError as error:
        log.warning("the lab cannot inject faults here: %s: %s", path, error)
        return None


def _listen(path: Path) -> socket.socket:
    """Return a listening Unix socket at ``path``; it replaces one that an earlier agent left.

    The file gets its name only when the socket listens, so no client is refused.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        listener.listen(MAX_CONNECTIONS)
        fresh.replace(path)
    except OSError:
        listener.close()
        raise
    return listener


def remove_dead_sockets(folder: Path) -> None:
    """Remove the sockets in ``folder`` without a listener: their containers were killed and removed."""
    for path in folder.glob("*.sock"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PROBE_S)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # its agent is slow, or another agent has just removed the file


def _shell_exit_code(code: int | None) -> int:
    if code is None:
        return 1  # it could not be started
    return code if code >= 0 else 128 - code


def name_of(role: str, settings: Settings) -> str:
    """Return the name of the process: a worker's is WORKER_ID, or else the name of its container."""
    return role if role != WORKER else settings.worker_id or elastic_name(own_name(), socket.gethostname())


def _begin_history_if_possible(folder: RunFolder) -> None:
    """Begin a new history if need be. If the disk refuses it, the former one goes on."""
    try:
        begin_history(folder)
    except OSError as error:
        log.warning("no new history begins: %s", error)


def begin_history(folder: RunFolder) -> None:
    """Begin a new history if another container wrote the present one.

    The same container (a broker that was killed and started) continues its own history.
    """
    container = folder.path / RUN_FILE
    here = socket.gethostname()
    before = container.read_text(encoding="ascii") if container.exists() else ""
    if before != here:
        folder.begin_history()
        container.write_text(here, encoding="ascii")


def ask(name: str, fault: str) -> int:
    """Ask the agent of ``name`` for a fault; return 0, or 1 after printing why it was refused."""
    try:
        folder = Settings.from_environment().control
        assert folder is not None
        control.ask(folder / f"{name}.sock", "", "act", fault=fault)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the agent for the process in ``arguments``; return the container's exit code."""
    if arguments[0] == ASK:
        return ask(*arguments[1:])
    role, *command = arguments
    log_to_standard_error()
    try:
        settings = Settings.from_environment()
        name = name_of(role, settings)
        if role != WORKER and settings.folder is not None:
            _begin_history_if_possible(RunFolder(settings.folder))
        environment = {"WORKER_ID": name} if role == WORKER else {}
        child = Contained(name, role, command, environment, RunFolder(Path("/nowhere")), DRAIN_S)
        is_elastic = role == WORKER and settings.worker_id is None
        if is_elastic and settings.control is not None:
            remove_dead_sockets(settings.control)
        control_socket = settings.control and settings.control / f"{name}.sock"
        agent = Agent(child, control_socket)
    except (LabkitError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return agent.run()
    finally:
        agent.close()
        if is_elastic and control_socket is not None:
            control_socket.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
