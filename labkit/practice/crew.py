"""Several processes of the learner's code at once, for exercises in which one of them is killed.

::

    with Crew(learner) as crew:
        one, other = crew.start("worker-1", "worker-2")       both are there, and idle
        one.play("work", url, "worker-1")                     does not wait for its end
        crew.wait(lambda: has_begun(journal), one, LabkitError(N_("worker-1 began a task")))
        one.kill()                                            kill -9, and it is gone
        other.result()

Each process is a `labkit.practice.learner.Learner` with the limits of the first, so the code in it may do
what it likes. ``wait`` looks at what is recorded. It ends early when the member that it waits for has ended,
and raises that member's finding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from labkit.core.errors import N_, InvariantBroken, LabkitError
from labkit.practice.learner import Learner
from labkit.practice.pacer import Pacer
from labkit.practice.verdict import Finding, Inconclusive
from labkit.support.process_groups import KILL, signal_group

WAIT_S = 8.0
"""How long to wait for something that takes milliseconds on an idle machine."""
PATIENCE = 2
"""A busy machine gets this many times as long."""
CALL_S = 18.0
"""The limit of a member's call: the judge may hold it for as long as the whole stage takes."""
POLL_S = 0.005


class Member:
    """One process of the crew and the call that runs in it."""

    def __init__(self, name: str, learner: Learner) -> None:
        self.name = name
        self.learner = learner
        self._thread: threading.Thread | None = None
        self._value: Any = None
        self._error: LabkitError | None = None
        self._function = ""

    def play(self, function: str, *arguments: Any, known_as: str = "") -> None:
        """Begin a call of play.py's ``function`` in this process."""
        if self._thread is not None:
            raise InvariantBroken(N_("{name} has a call already"), name=self.name)
        self._function = known_as or function
        self._thread = threading.Thread(
            target=self._run, args=(function, arguments), name=self.name, daemon=True
        )
        self._thread.start()

    def _run(self, function: str, arguments: tuple[Any, ...]) -> None:
        try:
            self._value = self.learner.play(function, *arguments, limit_s=CALL_S, known_as=self._function)
        except LabkitError as error:
            self._error = error

    @property
    def ended(self) -> bool:
        """Whether the call has returned or failed."""
        return self._thread is not None and not self._thread.is_alive()

    def result(self) -> Any:
        """Return what the ended call returned. Raises its finding."""
        if self._error is not None:
            raise self._error
        return self._value

    def stuck(self) -> Finding:
        """Return the finding that this process waits for something that never comes, with its line."""
        return self.learner.never_returns(self._function, WAIT_S)

    def join(self) -> None:
        """Wait until the call has ended."""
        if self._thread is not None:
            self._thread.join()

    def kill(self) -> None:
        """Kill the process as ``kill -9`` does, and wait until it is gone. Raises an earlier finding."""
        was_over = self.ended
        pid = self.learner.pid
        if pid is not None:
            signal_group(pid, KILL)
        self.join()
        if was_over:
            self.result()


class Crew:
    """The processes; leaving the block ends them all."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._members: list[Member] = []

    def start(self, *names: str) -> list[Member]:
        """Start a process for each name; return once the learner's module is imported in all of them."""
        new = [Member(name, self._learner.another()) for name in names]
        self._members += new
        for member in new:
            member.learner.start()
        for member in new:
            member.learner.play("ready", limit_s=WAIT_S)
        return new

    def wait(self, condition: Callable[[], bool], member: Member, what: LabkitError) -> None:
        """Wait until ``condition()`` holds or ``member``'s call has ended.

        Raises the member's finding if its call fails, and one of its own if it stands still on a machine that
        is not busy. Raises Inconclusive, which names ``what``, on a busy one.
        """
        began = time.monotonic()
        with Pacer(watches=True) as pacer:
            while True:
                ended = member.ended  # before the condition: what the call did last counts
                if condition():
                    return
                if ended:
                    member.result()
                    return
                waited = time.monotonic() - began
                if waited > WAIT_S and pacer.own_s > WAIT_S:
                    raise member.stuck()
                if waited > PATIENCE * WAIT_S:
                    raise Inconclusive(
                        N_("after {seconds:.0f} s this had not happened: {what}"), seconds=waited, what=what
                    )
                time.sleep(POLL_S)

    def wait_for_end(self, member: Member, what: LabkitError) -> Any:
        """Return what ``member``'s call returns, once it has returned; raises as ``wait`` does."""
        self.wait(lambda: member.ended, member, what)
        return member.result()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_error: object) -> None:
        for member in self._members:
            pid = member.learner.pid
            if pid is not None:
                signal_group(pid, KILL)  # its call ends, so that no thread uses the process any more
            member.join()
            member.learner.close()
