"""A DEALER worker by hand: a real broker takes it in, gives it work, and lets it go.

Real only: a cluster without workers, tasks that wait in its queue, and the learner's function as the only
worker. Judged are the messages that crossed the socket, the results that the client received, and what the
broker recorded.
"""

from __future__ import annotations

from random import SystemRandom

from labkit.calls.registry import name_of
from labkit.core import history as h
from labkit.core.errors import N_, LabkitError
from labkit.core.history import History
from labkit.core.history.causes import SILENT
from labkit.core.protocol.rules import Rules
from labkit.jobs import add
from labkit.practice.clusters import private_cluster, until
from labkit.practice.learner import BUSY_SHARE, Learner
from labkit.practice.pacer import Pacer
from labkit.practice.verdict import Finding, Inconclusive
from labkit.security.credentials import Token

NAME, TASKS = "by-hand", 3
LIMIT_S = 12.0
SILENT_S = Rules().dead_s


def real(learner: Learner) -> None:
    """Judge one conversation."""
    random = SystemRandom()
    numbers = [(random.randint(1, 999), random.randint(1, 999)) for _ in range(TASKS)]
    with private_cluster(learner, 0) as cluster, cluster.client("practice") as client:
        futures = [client.submit(add, *pair) for pair in numbers]
        until(
            lambda: sum(event.kind == h.SUBMITTED for event in cluster.history().events) == TASKS,
            LabkitError(N_("the broker received the tasks")),
        )
        host = cluster.address.rpartition(":")[0]
        credentials = cluster.credentials
        assert isinstance(credentials, Token)
        where = f"{host}:{cluster.ports['worker']}", credentials.secret
        learner.import_now()
        with Pacer(watches=True) as pacer:
            log, unheard = learner.play(
                "run", NAME, *where, name_of(add), TASKS, limit_s=LIMIT_S, known_as="serve"
            )
        if not unheard:
            _judge_messages(log)
        until(lambda: ended(cluster.history()), LabkitError(N_("the broker noticed the end of the worker")))
        history = cluster.history()
        judge_silence(history, unheard, is_busy=pacer.late_s > BUSY_SHARE * SILENT_S)
        done = {event.task for event in history.events if event.kind == h.DONE}
        mine = [future for future in futures if future.task_id in done]
        until(
            lambda: all(future.done() for future in mine), LabkitError(N_("the client received the results"))
        )
        _judge_results(numbers, [future.result(0) if future in mine else None for future in futures])
        _judge_end(history)


def ended(history: History) -> bool:
    """Return whether the broker has written that the worker left, or that it was lost."""
    return any(event.kind in (h.LEFT, h.LOST) for event in history.events if event.worker == NAME)


def judge_silence(history: History, unheard: bool, is_busy: bool) -> None:
    """Raise if the broker gave the worker up because it was silent, or the broker itself was.

    It takes a Finding that nothing kept the worker from running.
    """
    losses = [event for event in history.events if event.kind == h.LOST and event.worker == NAME]
    silent = any(event.detail.get("cause") == SILENT for event in losses)
    if silent and not is_busy:
        raise Finding(
            "lost",
            N_("your worker was silent for {seconds:g} s, so the broker counted it as lost"),
            expected=N_("it does the tasks one after the other and leaves"),
            advice=N_("Look for a sleep in serve, or for work that takes long."),
            seconds=SILENT_S,
        )
    if silent or unheard:
        raise Inconclusive(N_("this machine was too busy: worker and broker did not hear each other"))


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
