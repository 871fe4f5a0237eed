"""A DEALER worker by hand: a real broker takes it in, gives it work, and lets it go.

Real only: a cluster without workers, tasks that wait in its queue, and the learner's function as the only
worker. Judged are the messages that crossed the socket, the results that the client received, and what the
broker recorded.
"""

from __future__ import annotations

from random import SystemRandom

from labkit.core import history as h
from labkit.core.errors import N_, LabkitError
from labkit.core.history import History
from labkit.jobs import add
from labkit.practice.clusters import private_cluster, until
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding
from labkit.security.credentials import Token

NAME, TASKS = "by-hand", 3
LIMIT_S = 12.0


def real(learner: Learner) -> None:
    """Judge one conversation."""
    random = SystemRandom()
    numbers = [(random.randint(1, 999), random.randint(1, 999)) for _ in range(TASKS)]
    with private_cluster(learner, 0) as cluster, cluster.client("practice") as client:
        futures = [client.submit(add, *pair) for pair in numbers]
        host = cluster.address.rpartition(":")[0]
        credentials = cluster.credentials
        assert isinstance(credentials, Token)
        address = f"{host}:{cluster.ports['worker']}"
        log = learner.play("run", NAME, address, credentials.secret, TASKS, limit_s=LIMIT_S, known_as="serve")
        until(lambda: _ended(cluster.history()), LabkitError(N_("the broker noticed the end of the worker")))
        history = cluster.history()
        _judge_messages(log)
        # The broker's word, not ``future.done()``: a result may still be on its way to the client.
        done = {event.task for event in history.events if event.kind == h.DONE}
        results = [future.result(5) if future.task_id in done else None for future in futures]
        _judge_results(numbers, results)
        _judge_end(history)


def _ended(history: History) -> bool:
    kinds = [event.kind for event in history.events if event.worker == NAME]
    return not kinds or h.LEFT in kinds or h.LOST in kinds


def _judge_messages(log: list[list[str]]) -> None:
    """Follow the conversation: hello, welcome, then for each task started and done, then goodbye."""
    kinds = [f"{direction} {kind}" for direction, kind, _task in log if kind != "Heartbeat"]
    wanted = ["sent WorkerHello", "received WorkerWelcome"]
    wanted += ["received Task", "sent Started", "sent Done"] * TASKS + ["sent WorkerGoodbye"]
    for number, right in enumerate(wanted):
        found = kinds[number] if number < len(kinds) else "nothing"
        if found != right:
            raise Finding(
                "conversation",
                N_("message {number} of the conversation is: {found}"),
                expected=N_("message {number} is: {right}"),
                advice=N_("The text lists the conversation; receive waits for the next message of a kind."),
                number=number + 1,
                found=found,
                right=right,
            )


def _judge_results(numbers: list[tuple[int, int]], results: list[object]) -> None:
    for (one, other), result in zip(numbers, results, strict=True):
        if result != one + other:
            raise Finding(
                "wrong-result",
                N_("the client asked for {one} + {other} and received {result!r}"),
                expected=N_("the result of a task is what peer.compute returns for it"),
                advice=N_("Send each result with the task and the attempt that it belongs to."),
                one=one,
                other=other,
                result=result,
            )


def _judge_end(history: History) -> None:
    kinds = [event.kind for event in history.events if event.worker == NAME]
    if h.LOST in kinds:
        raise Finding(
            "lost",
            N_("the broker counted your worker as lost"),
            expected=N_("it leaves: after its goodbye the broker expects nothing more from it"),
            advice=N_("Send WorkerGoodbye last, after all results."),
        )
