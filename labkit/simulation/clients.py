"""Simulated clients: the real ClientSession, and a user who submits, cancels, waits, and remembers what came.

What the user receives shows whether the first promise holds: each task ends in exactly one visible outcome,
which is the right result or a named error that is deserved.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from labkit.core.peers import client_events as ce
from labkit.core.peers import client_session as cs
from labkit.core.peers.session import Connect, Send
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.connection import Link
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network
from labkit.simulation.process import Process
from labkit.simulation.work import Work

NEST_LEASE_S = 40.0
"""A task that waits for another one may run for longer than the broker needs to find a deadlock."""


class Outcome(NamedTuple):
    """What a client received for one task: ``kind`` is done, cancelled, or the code of a failure."""

    at: float
    kind: str
    worker: str = ""
    attempt: int = 0


Judge = Callable[["ClientProcess", Work, Outcome, m.Result | m.Failed | None], None]
"""Called with each outcome, before it is remembered; None for a cancelled task."""


class ClientProcess(Process):
    """A client for the whole run."""

    may_send = m.FROM_CLIENT

    def __init__(
        self,
        name: str,
        loop: Loop,
        network: Network,
        random: Random,
        rules: Rules,
        works: list[Work],
        judge: Judge,
        make_session: Callable[..., cs.ClientSession],
    ) -> None:
        super().__init__(name, loop, network, random, Link(random.uniform(0.0001, 0.002)))
        self.session: cs.ClientSession = make_session(random.randbytes(16), name, rules)
        self.works = {work.task: work for work in works}
        self.asked: dict[bytes, float] = {}  # task -> when its user submitted it
        self.cancelled: set[bytes] = set()  # its user asked for that
        self.outcomes: dict[bytes, Outcome] = {}
        self._judge = judge
        self.performers = {
            Send: self.send, Connect: self.connect, ce.Outcome: self._outcome,
            ce.CancelAnswer: self._cancel_answer, ce.NowRunning: self._nothing, ce.Answer: self._nothing,
            ce.Welcomed: self._nothing,
        }  # fmt: skip
        bursts: dict[float, list[Work]] = {}
        for work in works:
            bursts.setdefault(work.submit_at, []).append(work)
        for submit_at, burst in bursts.items():
            loop.at(submit_at, self._submit, burst)
        for work in works:
            if work.cancel_at is not None:
                loop.at(work.cancel_at, self._cancel, work)

    @property
    def finished(self) -> bool:
        """Whether every task that it submitted has its outcome."""
        return not self.alive or (len(self.asked) == len(self.works) and not self.session.open)

    def leave(self) -> None:
        """Close the session and end: what is open is cancelled."""
        self.feed(ce.CloseAsked())
        self.end(lost=0)

    def _submit(self, burst: list[Work]) -> None:
        """Submit all these tasks in one turn, as a batch does."""
        if not self.alive:
            return
        self.asked |= dict.fromkeys((work.task for work in burst), self.loop.now)
        calls = [self._call(work) for work in burst]
        if self.frozen:
            for call in calls:
                self.feed(ce.SubmitAsked(call))
        else:
            self.perform(self.session.submit(calls, self.clock()))
            self.end_turn()

    def _call(self, work: Work) -> ce.Call:
        arguments, deadline = work.arguments, self.clock() + work.budget_s
        lease_s = NEST_LEASE_S if work.behaviour == "nests" else 0.0
        return ce.Call(work.task, deadline, lease_s, work.job, work.needs, arguments, arguments.size)

    def _cancel(self, work: Work) -> None:
        if self.alive and work.task in self.asked:
            self.cancelled.add(work.task)
            self.feed(ce.CancelAsked(work.task))

    def _outcome(self, action: ce.Outcome) -> None:
        message = action.message
        kind = message.code if isinstance(message, m.Failed) else "done"
        outcome = Outcome(self.loop.now, kind, message.worker, message.attempt)
        self._take(action.call.task, outcome, message)

    def _cancel_answer(self, action: ce.CancelAnswer) -> None:
        if action.done:
            self._take(action.task, Outcome(self.loop.now, "cancelled"), None)

    def _take(self, task: bytes, outcome: Outcome, message: m.Result | m.Failed | None) -> None:
        self._judge(self, self.works[task], outcome, message)
        self.outcomes[task] = outcome

    def _nothing(self, _: object) -> None:
        """Matters to people only."""
