"""Our side of the learner's process: call its functions within limits, and end it.

::

    with Learner(exercise, root) as learner:
        learner.call("choose", tasks, workers)     # a function of the learner's module
        learner.play("run", folder)                # a function of the exercise's play.py, beside that module

A call that does not return within its limit is judged by what the process did meanwhile: if it computed, or
waited although it could have run, the code is at fault (``never-returns``, with its line). Time in which the
machine kept it from running does not count (`pacer`): the call gets more time, and then the check is
inconclusive. `findings` has the words.

Importing the file has a limit of its own (``IMPORT_S``); the start of Python does not count. All calls of one
stage together have a limit, too (``together_s``): many calls, each of them a bit slow, end as ``too-slow``.

The process leads a group of its own. ``close`` ends it with all of its descendants. A mark in the environment
identifies those that have left the group and have another parent by now.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

from labkit.core.errors import N_, LabkitError
from labkit.practice import channel, family, findings
from labkit.practice.exercise import Exercise
from labkit.practice.pacer import Pacer
from labkit.practice.verdict import Finding, Inconclusive
from labkit.support.process_groups import KILL, signal_group

LIMIT_S: Final = 2.0
"""How long one call may take, if the checker sets no limit; on a busy machine ``_patience_s``."""
PATIENCE: Final = 15
MOST_PATIENCE_S: Final = 60.0
BUSY_SHARE: Final = 0.25
"""A check that was late for this share of a time limit is on a machine that is too busy to judge by it."""
MOST_OUTPUT: Final = 16_384
"""Characters kept of what the learner's code prints: the last ones."""
STACK_S: Final = 1.0
FIRST_LOOK_S: Final = 0.1
START_S: Final = 60.0
"""How long Python may take to start in the learner's process, before its code runs."""
IMPORT_S: Final = 5.0
"""How long the import of the learner's file may take; it may import large packages."""
END_S: Final = 3.0
"""How long a process that has closed its pipes may take to end."""
TOGETHER_S: Final = 10.0
"""How long all calls of a stage may take together, unless the check sets another limit."""
MOST_PROCESSES: Final = 64
"""How many processes the learner's code may start in one call."""
MOST_MEMORY: Final = min(2 << 30, psutil.virtual_memory().total // 2)
"""Bytes that the learner's process, or one that it has started, may have in memory."""
SMALL_BYTES: Final = 4096
"""What an empty pipe takes at once on every system."""

_PARTS: Final = {
    "value": 2, "raised": 6, "import": 4, "missing": 2, "signature": 2, "unsendable": 2,
    "no-cluster": 2,
}  # fmt: skip
"""The kinds of answer and their lengths."""


class Learner:
    """The learner's module in a process of its own, started by the first call."""

    def __init__(
        self,
        exercise: Exercise,
        root: Path,
        *,
        prepare: Callable[[], None] | None = None,
        together_s: float = TOGETHER_S,
    ) -> None:
        """``root``: the folder that holds ``work/``. ``prepare`` runs in the new process (POSIX): limits.

        ``together_s``: the limit of all calls together.
        """
        self.exercise = exercise
        self.root = root
        self._prepare = prepare
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._output: deque[str] = deque()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._threads: list[threading.Thread] = []
        self.beside: dict[str, object] = {}
        """What a check has started for this learner, by name: a Redis server."""
        self.at_the_end = contextlib.ExitStack()
        """Ends what is in ``beside``, after the process."""
        self._has_imported = False
        self._mark = uuid.uuid4().hex
        self._together_s = together_s
        self._waited_s = 0.0
        self._pacer: Pacer | None = None
        self.last: tuple[str, Any] | None = None
        """The last function that returned, and what it returned."""

    @property
    def file(self) -> str:
        """The learner's file as it is called in sentences."""
        return f"{self.exercise.module}.py"

    @property
    def pid(self) -> int | None:
        """The number of the process; None if none runs."""
        process = self._process
        return None if process is None else process.pid

    @property
    def is_strangers(self) -> bool:
        """Whether the code is a hand-in: it may start nothing that its limits do not cover."""
        return self._prepare is not None

    @property
    def output(self) -> str:
        """The end of what the learner's code has printed."""
        return "".join(self._output)[-MOST_OUTPUT:]

    @property
    def _stacks(self) -> Path:
        """Where the process writes the stacks of its threads."""
        assert self._scratch is not None
        return Path(self._scratch.name, "stacks")

    def another(self) -> Learner:
        """Return one more process for the same file, with the same limits; the caller closes it."""
        return Learner(self.exercise, self.root, prepare=self._prepare, together_s=self._together_s)

    def start(self) -> None:
        """Start the process now; without this the first call does."""
        if self._process is None:
            self._start()

    def import_now(self) -> None:
        """Start the process and import the learner's file, so that what follows takes only its own time.

        Raises Finding or Inconclusive.
        """
        process = self._process or self._start()
        if not self._has_imported:
            self._import(process)

    def grant(self, seconds: float) -> None:
        """Let all calls together take so much longer: they wait for a server of ours, too."""
        self._together_s += seconds

    # --- calls ----------------------------------------------------------------------------------------------

    def call(self, function: str, *arguments: Any, limit_s: float = LIMIT_S) -> Any:
        """Return what the learner's ``function`` returns. Raises Finding or Inconclusive."""
        return self._ask("call", function, arguments, limit_s, function)

    def play(self, function: str, *arguments: Any, limit_s: float = LIMIT_S, known_as: str = "") -> Any:
        """Return what ``function`` of the exercise's play.py returns, called with the learner's module.

        ``known_as``: what it is called in findings, if the learner's own function has another name.
        """
        return self._ask("play", function, arguments, limit_s, known_as or function)

    def _ask(self, how: str, name: str, arguments: tuple[Any, ...], limit_s: float, known_as: str) -> Any:
        self.import_now()
        self._judge_all_calls(known_as, limit_s)
        began = time.monotonic()
        try:
            kind, *rest = self._exchange([how, name, list(arguments)], known_as, limit_s)
        finally:
            self._waited_s += time.monotonic() - began
        if kind == "value":
            self.last = known_as, rest[0]
            return rest[0]
        if kind == "no-cluster":
            raise Inconclusive(N_("the check did not reach its own cluster: {error}"), error=rest[0])
        raise findings.of_answer(kind, rest, known_as, self.file)

    def _import(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until Python runs, then have it import the learner's file. Raises Finding or Inconclusive."""
        try:
            self._checked(self._answers.get(timeout=START_S))
        except queue.Empty:
            self.close()
            raise Inconclusive(
                N_("this machine was too busy: Python had not started after {seconds:.0f} s"), seconds=START_S
            ) from None
        kind, *rest = self._exchange(["import"], self.file, IMPORT_S)
        if kind != "value":
            raise findings.of_answer(kind, rest, self.file, self.file)
        self._has_imported = True

    def _exchange(self, request: list[Any], name: str, limit_s: float) -> list[Any]:
        process = self._process
        assert process is not None and process.stdin is not None
        message = channel.encode(request)
        if sum(len(part) for part in message) <= SMALL_BYTES:
            _write(process.stdin, message)  # type: ignore[arg-type]
        else:  # a process that does not read must not hold us up
            threading.Thread(
                target=_write, args=(process.stdin, message), name="request", daemon=True
            ).start()
        return self._answer(process, name, limit_s)

    def _answer(self, process: subprocess.Popen[bytes], name: str, limit_s: float) -> list[Any]:
        began = time.monotonic()
        try:  # most calls answer at once, and need no pacer
            return self._checked(self._answers.get(timeout=min(limit_s, FIRST_LOOK_S)))
        except queue.Empty:
            computed = family.cpu_s(process.pid)
        with Pacer(watches=True) as pacer:
            while True:
                try:
                    return self._checked(self._answers.get(timeout=0.1))
                except queue.Empty:
                    pass
                children = family.below(process.pid)
                if len(children) > MOST_PROCESSES:
                    self.close()
                    raise findings.too_many_processes(name, MOST_PROCESSES)
                if family.memory([process.pid, *children]) > MOST_MEMORY:
                    line = self._running_line(process)
                    self.close()
                    raise findings.too_much_memory(name, MOST_MEMORY, line)
                waited = time.monotonic() - began
                if waited < limit_s:
                    continue
                if family.cpu_s(process.pid) - computed >= limit_s or pacer.own_s >= limit_s - FIRST_LOOK_S:
                    finding = self.never_returns(name, limit_s)
                    self.close()
                    raise finding
                if waited > _patience_s(limit_s):
                    raise Inconclusive(
                        N_("this machine was too busy: {function} got no answer in {seconds:.0f} s"),
                        function=name,
                        seconds=waited,
                    )

    def _judge_all_calls(self, name: str, limit_s: float) -> None:
        """Raise Finding if the calls so far took too long together, Inconclusive if the machine did."""
        if self._pacer is None:
            if self._waited_s > self._together_s / 5:
                self._pacer = Pacer().__enter__()
            return
        if self._waited_s <= max(self._together_s, limit_s):
            return
        if self._waited_s - self._pacer.late_s > self._together_s:
            raise findings.too_slow(name, self._together_s)
        if self._waited_s > _patience_s(self._together_s):
            raise Inconclusive(
                N_("this machine was too busy: {function} got no answer in {seconds:.0f} s"),
                function=name,
                seconds=self._waited_s,
            )

    def _checked(self, answer: Any) -> list[Any]:
        if answer is None:
            raise self._ended()
        if isinstance(answer, list) and answer and _PARTS.get(str(answer[0])) == len(answer):
            return answer
        raise self._broken()

    def _ended(self) -> Finding:
        """Return the finding for a process that is gone, after its last output has been read."""
        process = self._process
        assert process is not None
        try:
            code = process.wait(END_S)
        except subprocess.TimeoutExpired:
            return self._broken()
        if code == channel.BROKEN:
            return self._broken()
        for thread in self._threads:
            thread.join(STACK_S)
        self.close()
        return findings.ended(code, self.file)

    def never_returns(self, name: str, limit_s: float) -> Finding:
        """Return the finding that ``name`` still runs after ``limit_s``, with the line that it is at."""
        line = () if self._process is None else self._running_line(self._process)
        if not self._has_imported:
            return findings.import_never_ends(self.file, limit_s, line)
        return findings.never_returns(name, limit_s, line)

    def _broken(self) -> Finding:
        """Return the finding for a process that cannot answer any more, or answers nonsense."""
        self.close()
        return findings.broken_python(self.file)

    def _running_line(self, process: subprocess.Popen[bytes]) -> tuple[str, ...]:
        """Return the innermost line of the learner's file that runs now, as far as it can be found."""
        if not hasattr(signal, "SIGUSR1"):
            return ()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)
        pattern = re.compile(rf'File ".*{re.escape(self.file)}", line (\d+) in')
        deadline = time.monotonic() + STACK_S
        while time.monotonic() < deadline:
            found = pattern.search(self._stacks.read_text(encoding="utf-8", errors="replace"))
            if found:
                return (self._line(int(found[1])),)
            time.sleep(0.01)
        return ()

    def _line(self, number: int) -> str:
        try:
            text = (self.root / "work" / self.file).read_text(encoding="utf-8", errors="replace")
        except OSError:  # the learner has just deleted or renamed it
            text = ""
        lines = text.splitlines()
        code = lines[number - 1].strip() if number <= len(lines) else ""
        return f"{self.file}, line {number}: {code}"

    # --- the process ----------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        folder = self.exercise.folder
        self._scratch = tempfile.TemporaryDirectory(prefix="labkit-learner-")
        Path(self._scratch.name).chmod(0o777)  # the learner's process may run as another user (`limits`)
        command = [sys.executable, "-P", "-m", "labkit.practice.player"]
        process = self._process = subprocess.Popen(
            [*command, str(self.root), self.exercise.module, str(folder), str(self._stacks)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=self._prepare,
            env={**os.environ, "MPLBACKEND": "Agg", family.MARK: self._mark},
        )
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers = answers
        self._threads = [
            threading.Thread(target=_read_answers, args=(process, answers), name="answers", daemon=True),
            threading.Thread(target=self._read_output, args=(process,), name="output", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return process

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        while data := process.stderr.read1(65_536):  # type: ignore[attr-defined]
            text = data.decode("utf-8", "replace")[-MOST_OUTPUT:]
            self._output.append(text)
            while len(self._output) > 1 and sum(map(len, self._output)) - len(self._output[0]) > MOST_OUTPUT:
                self._output.popleft()

    def close(self) -> None:
        """End the process and everything that it has started."""
        process, self._process, self._has_imported = self._process, None, False
        if process is None:
            return
        if hasattr(signal, "SIGSTOP"):
            signal_group(process.pid, signal.SIGSTOP)  # so that it starts no more processes
        children = family.descendants(process.pid)
        signal_group(process.pid, KILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        family.end_marked(self._mark)
        for thread in self._threads:
            if thread.ident is None:
                continue  # Ctrl-C came before it was started
            thread.join(STACK_S)  # a descendant with another parent may still hold the pipe
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was still to be written has no reader
                pass
        assert self._scratch is not None
        self._scratch.cleanup()

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.close()
        finally:
            if self._pacer is not None:
                self._pacer.__exit__()
            self.at_the_end.close()


def _patience_s(limit_s: float) -> float:
    """Return how long a busy machine may take for what has a limit of ``limit_s``."""
    return max(2 * limit_s, min(PATIENCE * limit_s, MOST_PATIENCE_S))


def _write(pipe: BinaryIO, message: list[bytes]) -> None:
    try:
        channel.write(pipe, message)
    except (
        OSError,
        ValueError,
    ):  # the process has ended, or is being ended: the end of its answers shows that
        pass


def _read_answers(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[Any]) -> None:
    """Pass the answers on; None is their end."""
    assert process.stdout is not None
    try:
        while True:
            answers.put(channel.receive(process.stdout))  # type: ignore[arg-type]
    except LabkitError as error:  # the learner's code has written into our pipe
        answers.put(error)
    except (EOFError, OSError, ValueError):
        answers.put(None)
