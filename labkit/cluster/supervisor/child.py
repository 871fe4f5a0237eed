"""One child process of a cluster, and the rule by which it is started again.

::

    (start)    -> running     start
    (start)    -> restarting  start, which failed
    running    -> paused      pause
    paused     -> running     resume
    running    -> stopping    kill, or stop (SIGTERM; SIGKILL when drain_s is over)
    paused     -> stopping    kill, or stop
    stopping   -> running     start (the next process follows as soon as this one has ended)
    stopping   -> stopped     ended after stop
    stopping   -> killed      ended after kill
    running    -> restarting  ended by itself
    paused     -> restarting  ended by itself
    restarting -> running     backoff is over, or start
    restarting -> restarting  backoff is over, and the start failed
    restarting -> stopped     stop
    stopped    -> running     start
    stopped    -> restarting  start, which failed
    killed     -> running     start
    killed     -> restarting  start, which failed

The rule is Docker's ``unless-stopped``: a child that ends by itself, whatever its exit code, is started
again; one that was killed or stopped by command stays down until a command starts it.

A child that ends is started again at once. If it keeps ending by itself within seconds, each further start
waits longer, ten seconds at most: a worker that cannot live (a broken environment, a full disk) must not use
up the machine that it shares. By itself means: with an exit code, or by a signal that its own doing caused
(``processes.OWN_FAULTS``), or by SIGKILL when the kernel ran out of memory meanwhile.

One that was killed from outside is able to run. It is started again at once, as often as that happens, and
its end is no short life; only a child that is killed again and again within a second waits ``YOUNG_PAUSE_S``.
Short lives are forgotten when a process has lived for ``LONG_LIFE_S``, not only when it ends.

Each child leads a process group of its own: a terminal's Ctrl-C does not reach it, and processes that it has
started are frozen and killed together with it. Its output goes to its log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit.cluster.processes import (
    KILLED,
    LONG_LIFE_S,
    PAUSED,
    RESTARTING,
    RUNNING,
    STARTED,
    STOPPED,
    STOPPING,
    ProcessRow,
    check_fits,
    how_it_ended,
    was_killed_from_outside,
)
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor.memory import kills_for_memory
from labkit.core.transitions import START, Transitions
from labkit.support import process_groups

LOCKED = "SIGPROF"
"""How a worker ends when a task keeps the interpreter lock (``workers.watchdog``)."""

BACKOFF_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
YOUNG_S = 1.0
"""A process that is killed before this time may never have been of use."""
MANY_YOUNG = 5
YOUNG_PAUSE_S = 0.5
"""The pause before the next start, when so many processes in a row were killed that young."""
MAX_LOG_BYTES = 8 << 20
"""A log that grows beyond this while its process runs is emptied."""


TRANSITIONS: Transitions = {
    (START, RUNNING): "start",
    (START, RESTARTING): "start, which failed",
    (RUNNING, PAUSED): "pause",
    (PAUSED, RUNNING): "resume",
    (RUNNING, STOPPING): "kill, or stop (SIGTERM; SIGKILL when drain_s is over)",
    (PAUSED, STOPPING): "kill, or stop",
    (STOPPING, RUNNING): "start (the next process follows as soon as this one has ended)",
    (STOPPING, STOPPED): "ended after stop",
    (STOPPING, KILLED): "ended after kill",
    (RUNNING, RESTARTING): "ended by itself",
    (PAUSED, RESTARTING): "ended by itself",
    (RESTARTING, RUNNING): "backoff is over, or start",
    (RESTARTING, RESTARTING): "backoff is over, and the start failed",
    (RESTARTING, STOPPED): "stop",
    (STOPPED, RUNNING): "start",
    (STOPPED, RESTARTING): "start, which failed",
    (KILLED, RUNNING): "start",
    (KILLED, RESTARTING): "start, which failed",
}


def backoff_s(short_lives: int) -> float:
    """Return how long to wait before the next start, after this many short lives in a row."""
    return BACKOFF_S[min(short_lives, len(BACKOFF_S) - 1)]


class Child:
    """A child called ``name``. The supervisor's loop calls ``collect`` and ``tick``, commands the rest."""

    def __init__(
        self,
        name: str,
        kind: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: RunFolder,
        drain_s: float,
        lifeline: int | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._drain_s = drain_s
        self._lifeline = lifeline  # the descriptor of a pipe that the child watches
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._paused = False
        self._down_as = STOPPED  # its state when it is down: the last command decides
        self._kill_at: float | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._short_lives = 0
        self._killed_young = 0  # so many in a row, from outside
        self._kills_for_memory = 0  # the kernel's count when the present process started
        self._starts = 0
        self._last_exit = ""
        self.last_code: int | None = None
        """As ``Popen.returncode``: negative for a signal."""
        self.born = ""
        self.leaving = False
        """Whether it leaves the cluster when it has ended, because the cluster was scaled down."""
        self.when_ended: list[Callable[[], None]] = []
        """Functions that are called once, when the present process has ended."""

    # --- its state -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Its process id while it has a process."""
        return self._process.pid if self._process is not None else None

    @property
    def state(self) -> str:
        """running, paused, stopping, restarting, stopped or killed."""
        if self._process is not None:
            if not self._wanted:
                return STOPPING
            return PAUSED if self._paused else RUNNING
        return RESTARTING if self._wanted else self._down_as

    def row(self, now: float) -> ProcessRow:
        """Return everything about it, ready for JSON."""
        wait_s = max(0.0, self._restart_at - now) if self._restart_at is not None else None
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "pid": self.pid,
            "restarts": max(0, self._starts - 1),
            "short_lives": 0 if self._has_lived_long(now) else self._short_lives,
            "last_exit": self._last_exit,
            "restart_in_s": wait_s,
            "up_s": now - self._started_at if self._process is not None else None,
        }

    def check(self, fault: str) -> None:
        """Raise ClusterError if this command does not apply in the child's present state."""
        check_fits(fault, self.name, self.state)

    # --- commands -------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Start it by command. If its last process is still ending, the next one follows at once."""
        self._wanted = True
        self.leaving = False
        self._short_lives = 0
        if self._process is None:
            self._spawn(now)

    def kill(self) -> None:
        """SIGKILL; it stays down."""
        self._stay_down(KILLED)
        self._signal(process_groups.KILL)

    def stop(self, now: float, drain_s: float | None = None) -> None:
        """SIGTERM, and SIGKILL if it takes longer than ``drain_s``; it stays down."""
        self._stay_down(STOPPED)
        if self._process is None:
            return  # it has no process now; a time limit would hit the next one
        self._kill_at = now + (self._drain_s if drain_s is None else drain_s)
        if sys.platform == "win32":
            process_groups.signal_group(self._process.pid, signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()
        self._thaw()  # a frozen process would receive the signal only when it wakes

    def pause(self) -> None:
        """SIGSTOP."""
        self._paused = True
        if sys.platform == "win32":
            self._do_on_windows("suspend")
        else:
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._thaw()

    def _thaw(self) -> None:
        if self._paused and sys.platform == "win32":
            self._do_on_windows("resume")
        elif sys.platform != "win32":
            self._signal(signal.SIGCONT)
        self._paused = False

    def _do_on_windows(self, do: str) -> None:
        """Suspend or resume the process, where there is no signal for it."""
        import psutil

        if self._process is None:
            return
        try:
            getattr(psutil.Process(self._process.pid), do)()
        except psutil.NoSuchProcess:
            pass  # it has just ended

    def _stay_down(self, as_: str) -> None:
        self._wanted = False
        self._down_as = as_
        self._restart_at = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            process_groups.signal_group(self._process.pid, number)

    # --- the supervisor's loop ------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when ``tick`` has something to do, or None."""
        if self._process is not None:
            return self._kill_at
        return self._restart_at

    def tick(self, now: float) -> None:
        """Do what is due: the next start, or the end of a process that takes too long to drain."""
        if self._process is not None and self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._signal(process_groups.KILL)
        if self._process is None and self._restart_at is not None and now >= self._restart_at:
            self._spawn(now)

    def collect(self, now: float) -> bool:
        """Notice that the process has ended; return whether it has."""
        if self._process is None or self._process.poll() is None:
            return False
        self.last_code = code = self._process.returncode
        process_groups.signal_group(self._process.pid, process_groups.KILL)  # processes that it had started
        self._process = None
        self._paused = False
        self._kill_at = None
        how = how_it_ended(code)
        if how == LOCKED:
            why = "a task kept the interpreter lock; 'Current thread' says where"
            self._write_to_log(f"{self.name} ended: {why}")
        is_kill = was_killed_from_outside(code) and kills_for_memory() <= self._kills_for_memory
        self._ended(how, now, is_kill)
        return True

    def _has_lived_long(self, now: float) -> bool:
        return self._process is not None and now - self._started_at >= LONG_LIFE_S

    def _ended(self, how: str, now: float, is_kill: bool = False) -> None:
        self._last_exit = how
        lived_s = now - self._started_at
        if lived_s >= LONG_LIFE_S:
            self._short_lives = 0
        self._killed_young = self._killed_young + 1 if is_kill and lived_s < YOUNG_S else 0
        if self._wanted and is_kill:
            self._restart_at = now + (YOUNG_PAUSE_S if self._killed_young >= MANY_YOUNG else 0.0)
        elif self._wanted:
            self._restart_at = now + backoff_s(self._short_lives)
            self._short_lives += 1
        when_ended, self.when_ended = self.when_ended, []
        for call in when_ended:
            call()

    def _spawn(self, now: float) -> None:
        self._restart_at = None
        self._started_at = now
        self._kills_for_memory = kills_for_memory()
        self._starts += 1
        log = None
        try:
            log = self._open_log()
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment, **self._lifeline_variable()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_own_group(),
                pass_fds=() if self._lifeline is None else (self._lifeline,),
            )
        except OSError as error:  # no memory, no descriptors, no such program: like one that ends at once
            if log is not None:
                _write(log, f"cannot be started: {error}\n")
            self._ended(f"cannot be started: {error.strerror}", now)
            return
        finally:
            if log is not None:
                os.close(log)
        self.born = process_groups.birth(self._process.pid) or ""

    def _write_to_log(self, line: str) -> None:
        """Write a line of ours between the lines of two processes, if the log can be opened."""
        try:
            log = self._open_log_file()
        except OSError:  # no descriptors, not even for /dev/null
            return
        _write(log, f"--- {line} ---\n")
        os.close(log)

    def _lifeline_variable(self) -> dict[str, str]:
        return {} if self._lifeline is None else {"LABKIT_LIFELINE": str(self._lifeline)}

    def _open_log(self) -> int:
        """Return a descriptor of the log, with a line that announces the next process."""
        log = self._open_log_file()
        _write(log, f"{STARTED.format(name=self.name)}{time.strftime('%Y-%m-%d %H:%M:%S')} ---\n")
        return log

    def _open_log_file(self) -> int:
        """Return a descriptor of its log, or of /dev/null if the log cannot be opened."""
        try:
            return self._folder.open_log(self.name)
        except OSError:  # a full disk does not keep the process from running
            return os.open(os.devnull, os.O_WRONLY)

    @property
    def popen(self) -> subprocess.Popen[bytes] | None:
        """The process itself, for a thread that waits for its end where there is no SIGCHLD."""
        return self._process

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of a process that has been killed, for a bounded time."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return  # a process that waits for a dead disk ignores even SIGKILL

    def shorten_log(self) -> None:
        """Empty a log that has grown beyond ``MAX_LOG_BYTES``, as when a task prints in a loop."""
        path = self._folder.log_file(self.name)
        try:
            if sys.platform != "win32" and path.stat().st_size > MAX_LOG_BYTES:
                os.truncate(path, 0)  # the child appends, so it goes on at the new end
        except OSError:
            pass  # it has been removed, or the disk refuses; the log is a convenience


def _write(log: int, line: str) -> None:
    """Write a line of ours into a child's log, if the disk has room for it."""
    try:
        os.write(log, line.encode())
    except OSError:
        pass  # a missing log line is no reason for a process to end


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
