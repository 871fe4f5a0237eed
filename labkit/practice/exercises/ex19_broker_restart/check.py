"""What a client does when its broker restarts: it submits again what has no outcome, and nothing else.

Simulated: the broker is killed while tasks are open, once or twice, and a new one starts that knows nothing.
Each time the client's session asks the learner's function what to submit. The session does as it answers, so
that a task that is left out has no outcome for as long as its user waits.
"""

from __future__ import annotations

from labkit.core.errors import N_
from labkit.core.peers.client_events import Call
from labkit.core.peers.client_session import ClientSession
from labkit.core.protocol import messages as m
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import Parts, simulate
from labkit.simulation.scenario import Place, uneven


class Resubmitting(ClientSession):
    """The client's session, which asks the learner what a new broker must be sent."""

    piece: Piece

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._asked: list[str] = []

    def _add(self, call: Call) -> None:
        self._asked.append(call.task.hex())
        super()._add(call)

    def _on_welcome(self, welcome: m.ClientWelcome, now: float) -> None:
        if self.broker_epoch and welcome.epoch != self.broker_epoch:
            before = self.tables()
            sent = {*before.sent, *before.accepted}
            open_ = [task.hex() for task in self.open]
            ended = [task for task in self._asked if bytes.fromhex(task) not in self.open]
            in_order = [task for task in self._asked if bytes.fromhex(task) in sent]
            answer = self.piece.ask("to_submit", self._asked, in_order, ended, otherwise=open_)
            self._judge(answer, open_, ended, now)
        super()._on_welcome(welcome, now)

    _message_handlers = {**ClientSession._message_handlers, m.ClientWelcome: _on_welcome}

    def _judge(self, answer: object, open_: list[str], ended: list[str], now: float) -> None:
        if not isinstance(answer, list) or not set(answer) <= set(self._asked):
            self._find(
                "wrong-type", N_("to_submit returned something else than a list of asked tasks"), now, 0
            )
        elif missing := len(set(open_) - set(answer)):
            self._find(
                "lost",
                N_("{tasks} tasks without an outcome are not submitted to the new broker"),
                now,
                missing,
            )
        elif again := len(set(answer) & set(ended)):
            self._find("doubled", N_("{tasks} tasks that have their outcome are submitted again"), now, again)
        elif len(answer) > len(open_):
            self._find("doubled", N_("{tasks} tasks are submitted twice"), now, len(answer) - len(open_))
        elif answer != open_:
            self._find(
                "order", N_("the tasks are not submitted in the order in which they were asked for"), now, 0
            )

    def _find(self, code: str, template: str, now: float, tasks: int) -> None:
        self.piece.find(
            Finding(
                code,
                template,
                expected=N_("every task without an outcome is submitted again, once and in order"),
                advice=N_("What does the new broker know? And which tasks have their outcome already?"),
                tasks=tasks,
                at=now,
            )
        )


def simulated(learner: Learner, seed: int) -> None:
    """Judge one seed: every restart in it."""
    piece = Piece(learner)
    session = type("LearnersSession", (Resubmitting,), {"piece": piece})
    scenario = uneven(seed, 120, [Place(4)] * 3, 0.04)
    run = simulate(
        seed, faults=("broker_restart",), safety_s=6.0, parts=Parts(client_session=session), scenario=scenario
    )  # fmt: skip
    piece.raise_failure(run)
    run.require_ok()
