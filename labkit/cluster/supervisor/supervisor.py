"""The supervisor: one small process per cluster that is the parent of all the others.

``python -m labkit.cluster.supervisor FOLDER``, started by ``labkit.cluster.local``. It reads a plan (one line
of JSON, made by ``labkit.cluster.local.plan``) from its standard input, starts Redis, broker and workers at
once, reports on its standard output in one line of JSON whether that worked, and serves the control port.

* It decides nothing: ports, commands and settings are in the plan. It keeps children alive
  (``labkit.cluster.supervisor.child``) and carries out what users request
  (``labkit.cluster.supervisor.control``).
* It ends when its standard input does, whatever happened to the process at the other end: no cluster outlives
  a notebook that was killed. The program that starts a background cluster sends ``detach`` first; from then
  on only ``down`` or a signal ends the supervisor.
* The end takes 3 s at most: workers and HTTP side, then broker, then Redis, each first asked and then killed;
  the folder is tidied last.
* One thread and one selector, no polling. It imports only what the standard library gives cheaply: idle, it
  needs about 12 MiB. (It has one more thread, which sleeps on the standard input; on Windows one per child,
  because there is no SIGCHLD.)

A fault command arrives here after the broker has recorded the fault in the history. Faults that the broker
could not record, because it was down, are counted here and shown in the status.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cluster.processes import (
    API,
    BROKER,
    REDIS,
    RESTARTING,
    WORKER,
    SupervisorStatus,
    UnrecordedFault,
    check_worker_count,
)
from labkit.cluster.run_folder import RunFolder, State
from labkit.cluster.supervisor.child import Child
from labkit.cluster.supervisor.control import ControlServer, Request, encode_error
from labkit.cluster.supervisor.wakeups import Wakeups, read_line
from labkit.core.errors import N_, ClusterError, InvalidInput, LabkitError
from labkit.support import process_groups
from labkit.support.refusals import is_about_files, refusal

if TYPE_CHECKING:
    from labkit.cluster.supervisor.plan import Plan

STAGES = (((API, WORKER), 1.4), ((BROKER,), 0.6), ((REDIS,), 0.3))
"""The order of the end: the kinds that end together, and how long they may take before they are killed."""
DRAIN_S = {API: 6.0}
"""How long a stop may take, by kind: the HTTP side gives requests under way five seconds."""
KILLED_S = 0.4
"""How long a killed process may take to vanish before the end goes on without it."""
LOOK_AT_LOGS_S = 5.0
WRITE_AGAIN_S = 1.0
"""The pause after which ``cluster.json`` is written again, when the disk refused it."""
UNRECORDED_SHOWN = 20


class Supervisor:
    """The children of one cluster, and the loop that looks after them."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self.wakeups = Wakeups(self._selector)
        self._children: dict[str, Child] = {}
        self._dirty = True  # cluster.json is not up to date
        self._write_again_at: float | None = None  # the disk refused it
        self._wait_for_end: list[Request] = []
        self._stage: int | None = None  # of the end
        self._stage_over_at = 0.0
        self._unrecorded: list[UnrecordedFault] = []
        self._look_at_logs_at = time.monotonic() + LOOK_AT_LOGS_S
        self._control: ControlServer | None = None
        # A copy of the starter's pipe: a private cluster's processes watch it themselves, in case the
        # supervisor is killed (labkit.support.parent_watch). Redis cannot.
        self._lifeline = os.dup(0) if plan["private"] and sys.platform != "win32" else None

    # --- the loop -------------------------------------------------------------------------------------------

    def start(self) -> State:
        """Start everything at once and return what ``cluster.json`` contains."""
        token = os.urandom(32).hex()
        self._folder.write_token(token)
        self._control = ControlServer(self._selector, token, self._on_request)
        now = time.monotonic()
        for kind, part in ((BROKER, self._plan["broker"]), (REDIS, self._plan["redis"])):
            if part is not None:
                self._add(kind, kind, part["command"], part["environment"], now)
        for number in range(1, self._plan["workers"] + 1):
            self._add_worker(number, now)
        self._folder.write_state(self._state())
        if (api := self._plan.get("api")) is not None:  # it finds the cluster in the state
            self._add(API, API, api["command"], api["environment"], now)
        self._dirty = False
        state = self._state()
        self._folder.write_state(state)
        return state

    def run(self) -> None:
        """Supervise the children until everything is down."""
        while not self._is_over():
            for key, _events in self._selector.select(self._timeout_s()):
                key.data()
            now = time.monotonic()
            if self.wakeups.end_asked and self._stage is None:
                self._begin_the_end(now)
            for child in list(self._children.values()):
                self._dirty |= child.collect(now)
                before = child.pid
                child.tick(now)
                self._dirty |= child.pid != before
                self.wakeups.watch(child.popen)
                if child.leaving and child.pid is None:
                    del self._children[child.name]
            if self._stage is not None:
                self._go_on_ending(now)
            assert self._control is not None
            self._control.sweep(now)
            if now >= self._look_at_logs_at:
                self._look_at_logs_at = now + LOOK_AT_LOGS_S
                for child in self._children.values():
                    child.shorten_log()
            if self._dirty and (self._write_again_at is None or now >= self._write_again_at):
                self._bring_up_to_date(now)

    def _bring_up_to_date(self, now: float) -> None:
        """Write ``cluster.json``. A full disk ends no cluster: the write is repeated until there is room.

        Meanwhile the file lacks the pids of the latest processes. Only a cleanup after the supervisor was
        killed needs them.
        """
        try:
            self._folder.write_state(self._state())
        except OSError:
            self._write_again_at = now + WRITE_AGAIN_S
        else:
            self._dirty, self._write_again_at = False, None

    def _timeout_s(self) -> float:
        assert self._control is not None
        due = [self._look_at_logs_at, self._write_again_at, self._control.next_deadline()]
        due += [child.next_deadline() for child in self._children.values()]
        if self._stage is not None:
            due.append(self._stage_over_at + KILLED_S)
        return max(0.0, min(at for at in due if at is not None) - time.monotonic())

    def _add(self, name: str, kind: str, command: list[str], environment: dict[str, str], now: float) -> None:
        drain_s = self._plan["drain_s"] if kind == WORKER else DRAIN_S.get(kind, 2.0)
        lifeline = self._lifeline if kind != REDIS else None
        child = Child(name, kind, command, environment, self._folder, drain_s, lifeline)
        self._children[name] = child
        child.start(now)
        self._dirty = True

    def _add_worker(self, number: int, now: float) -> None:
        name = f"worker-{number}"
        part = self._plan["worker"]
        environment = {**part["environment"], "WORKER_ID": name, **part["own"].get(name, {})}
        self._add(name, WORKER, part["command"], environment, now)

    def _state(self) -> State:
        assert self._control is not None
        alive = {"supervisor": (os.getpid(), process_groups.birth(os.getpid()) or "")}
        alive.update({c.name: (c.pid, c.born) for c in self._children.values() if c.pid is not None})
        return {**self._plan["about"], "control_port": self._control.port, "processes": alive}

    # --- requests of users ----------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        answers: dict[str, Callable[..., None]] = {
            "status": self._answer_status,
            "check": self._check,
            "act": self._act,
            "scale": self._scale,
            "down": self._down,
        }
        if self._stage is not None and request.do in ("act", "scale"):
            raise ClusterError(N_("the cluster is going down"))
        try:
            answers[request.do](request, **request.parameters)
        except LabkitError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterError(
                N_("the cluster's supervisor does not understand {do!r}: {reason}"),
                do=request.do,
                reason=f"{type(error).__name__}: {error}",
            ) from error

    def _answer_status(self, request: Request) -> None:
        now = time.monotonic()
        status: SupervisorStatus = {
            "processes": [child.row(now) for child in self._children.values()],
            "unrecorded_faults": self._unrecorded,
            "pid": os.getpid(),
            "detached": self.wakeups.detached,
        }
        request.answer(status)

    def _check(self, request: Request, fault: str, name: str) -> None:
        """Answer with the broker's state, if the command applies: only a running broker records a fault."""
        self._child(name).check(fault)
        broker = self._children.get(BROKER)
        request.answer({"broker": broker.state if broker is not None else "none"})

    def _act(self, request: Request, fault: str, name: str, recorded: bool) -> None:
        child = self._child(name)
        child.check(fault)
        now = time.monotonic()
        if not recorded:
            self._unrecorded.append({"fault": fault, "target": name, "wall": time.time()})
            del self._unrecorded[:-UNRECORDED_SHOWN]
        if fault == "start":
            child.start(now)
            self._dirty = True
        elif fault == "stop":
            child.stop(now)
        else:
            {"kill": child.kill, "pause": child.pause, "resume": child.resume}[fault]()
        if fault in ("kill", "stop") and child.pid is not None:
            child.when_ended.append(lambda: request.answer(None))
        else:
            request.answer(None)

    def _scale(self, request: Request, n: int) -> None:
        """Add workers, or drain those with the highest numbers; answer at once with the names that stay."""
        check_worker_count(n)
        now = time.monotonic()
        for number in range(1, n + 1):
            child = self._children.get(f"worker-{number}")
            if child is None:
                self._add_worker(number, now)
            elif child.leaving:
                child.start(now)
        for child in self._workers():
            if int(child.name.removeprefix("worker-")) > n and not child.leaving:
                child.leaving = True
                child.stop(now)
        request.answer([child.name for child in self._workers() if not child.leaving])

    def _down(self, request: Request) -> None:
        self._wait_for_end.append(request)
        self.wakeups.ask_for_the_end()

    def _workers(self) -> list[Child]:
        return [child for child in self._children.values() if child.kind == WORKER]

    def _child(self, name: str) -> Child:
        try:
            return self._children[name]
        except KeyError:
            raise InvalidInput(
                N_("{name!r} is unknown; the cluster has {known}"), name=name, known=", ".join(self._children)
            ) from None

    # --- the end --------------------------------------------------------------------------------------------

    def _begin_the_end(self, now: float) -> None:
        self._stage = -1
        self._stage_over_at = now
        for child in self._workers():
            child.leaving = False
        self._go_on_ending(now)

    def _go_on_ending(self, now: float) -> None:
        """Enter the next stage when the children of this one are gone, or when its time is over."""
        assert self._stage is not None
        while self._stage < len(STAGES):
            patience_over = now >= self._stage_over_at + KILLED_S
            if self._stage >= 0 and self._of_stage() and not patience_over:
                return
            self._stage += 1
            if self._stage < len(STAGES):
                self._stage_over_at = now + STAGES[self._stage][1]
                for child in self._of_stage():
                    child.stop(now, STAGES[self._stage][1])

    def _of_stage(self) -> list[Child]:
        assert self._stage is not None
        kinds = STAGES[self._stage][0]
        # A restarting child has no process yet, but would have one soon.
        return [
            c
            for c in self._children.values()
            if c.kind in kinds and (c.pid is not None or c.state == RESTARTING)
        ]

    def _is_over(self) -> bool:
        return self._stage is not None and self._stage >= len(STAGES)

    def close(self) -> None:
        """Kill the children that are left, tidy the folder, and then answer the requests for the end."""
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait(KILLED_S)
        if sys.platform == "win32":
            _print_to(os.open(os.devnull, os.O_WRONLY))  # Windows cannot remove an open log
        refused: LabkitError | None = None
        try:
            self._folder.leave(keep=not self._plan["private"])
        except OSError as error:  # a disk that has become read-only: everything has ended, and files stay
            refused = _named(error, self._folder, self._plan["private"])
            print(refused, file=sys.stderr)
        for request in self._wait_for_end:
            if refused is None:
                request.answer(None)
            else:
                request.refuse(refused)
        if self._control is not None:
            self._control.close()
        self.wakeups.close()


def main() -> int:
    """Run one cluster from the plan on the standard input; exit code 1 if it did not come up."""
    plan_line = read_line(0)
    if not plan_line:
        return 0  # the starter has changed its mind
    plan = json.loads(plan_line)
    folder = RunFolder(Path(plan["folder"]))
    supervisor = Supervisor(plan, folder)
    supervisor.wakeups.receive_signals()
    try:
        ended = folder.take()
    except (LabkitError, OSError) as error:
        _report({"error": encode_error(_named(error, folder, plan["private"]))})
        return 1
    try:
        supervisor.wakeups.watch_standard_input()
        state = supervisor.start()
        _report({"state": state, "ended": ended})
        _print_to(_own_log(folder))
        supervisor.run()
    except (LabkitError, OSError) as error:
        _report({"error": encode_error(_named(error, folder, plan["private"]))})
        return 1
    finally:
        supervisor.close()
    return 0


def _named(error: LabkitError | OSError, folder: RunFolder, private: bool) -> LabkitError:
    if isinstance(error, LabkitError):
        return error
    if not is_about_files(error):
        return ClusterError(
            N_("the cluster cannot be started: {reason}"), reason=refusal(error) or str(error)
        )
    return ClusterError(
        N_("the cluster cannot use its folder {folder}: {reason}; TMPDIR chooses another")
        if private
        else N_("the cluster cannot use its folder {folder}: {reason}; LABKIT_HOME chooses another"),
        folder=str(folder.path),
        reason=error.strerror or str(error),
    )


def _own_log(folder: RunFolder) -> int:
    """Return a descriptor of the supervisor's own log, or of the null device if the disk refuses it."""
    try:
        return folder.open_log("supervisor")
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _report(report: dict[str, Any]) -> None:
    """Send one line to the starter; it may be gone."""
    try:
        os.write(1, json.dumps(report).encode() + b"\n")
    except OSError:
        pass  # the starter is gone, so the standard input has ended too: the supervisor ends next


def _print_to(descriptor: int) -> None:
    """Redirect what this process prints; the starter, which reads our standard output, sees its end."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
