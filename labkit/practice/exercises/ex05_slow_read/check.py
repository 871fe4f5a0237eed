"""One read hangs: the others return, the slow one is given up, and no thread is left.

Judged at our own server, which never answers one of the requests, and by the threads in the learner's process
at the moment when the function returns.
"""

from __future__ import annotations

import random
from typing import Any

from labkit.core.errors import N_
from labkit.imaging import photos
from labkit.practice.learner import Learner
from labkit.practice.pacer import Pacer
from labkit.practice.slow_server import open_slow_server
from labkit.practice.verdict import Finding, Inconclusive

READS = 6
LIMIT_S = 1.5
NEVER_S = 600.0
CALL_S = 5.0


def real(learner: Learner) -> None:
    """Have the learner's function read from a server that hangs at one photograph."""
    chance = random.Random()
    pictures = chance.sample(photos.bundled(), READS)
    slow = chance.randrange(READS)
    learner.import_now()
    with open_slow_server(latency_s=0.02, pictures=pictures) as server, Pacer(watches=True) as pacer:
        server.slow_down(pictures[slow].name, NEVER_S)
        answer = learner.play("run", server.urls, LIMIT_S, limit_s=CALL_S, known_as="read_in_time")
    is_busy = pacer.late_s > LIMIT_S / 2
    judge(answer["results"], [photo.bytes() for photo in pictures], server.names, slow, is_busy=is_busy)
    if answer["left"]:
        raise Finding(
            "left-running",
            N_("read_in_time has returned, and {threads} threads of it still run: {names}"),
            expected=N_("when read_in_time returns, each thread that it started has ended"),
            advice=N_(
                "A future's time limit ends your wait, not the read. Call cancel() on the Download, "
                "then wait for its thread."
            ),
            threads=len(answer["left"]),
            names=", ".join(answer["left"]),
        )


def judge(results: Any, right: list[bytes], names: list[str], slow: int, is_busy: bool) -> None:
    """Raise Finding unless ``results`` is ``right`` with None at ``slow``."""
    if not isinstance(results, list):
        raise Finding(
            "wrong-type",
            N_("read_in_time returned a value of the type {kind}"),
            expected=N_("read_in_time returns a list"),
            advice=N_("Collect one result for each URL and return the list."),
            kind=type(results).__name__,
        )
    if len(results) != len(right):
        raise Finding(
            "wrong-number",
            N_("read_in_time returned {results} results for {reads} URLs"),
            expected=N_("one result for each URL, None at the place of the slow one"),
            advice=N_("Put None where there is nothing, so that the others keep their places."),
            results=len(results),
            reads=len(right),
        )
    for position, (got, wanted) in enumerate(zip(results, right, strict=True)):
        if position == slow and got is not None:
            raise Finding(
                "not-given-up",
                N_("result {position} is of the type {kind}, but the server has not answered {name}"),
                expected=N_("the result of the read that was too slow is None"),
                advice=N_("Look which futures are not done when the time is up: their results are None."),
                position=position,
                kind=type(got).__name__,
                name=names[position],
            )
        if position != slow and got is None:
            if is_busy:
                raise Inconclusive(N_("this machine was too busy: quick reads took too long, too"))
            raise Finding(
                "given-up-too",
                N_("result {position} is None, although the server answers {name} at once"),
                expected=N_("only the read of {slow} is given up"),
                advice=N_("Start all reads at the same time; then give up only those that are not done."),
                position=position,
                name=names[position],
                slow=names[slow],
            )
        if position != slow and got != wanted:
            raise Finding(
                "wrong-result",
                N_("result {position} is not what the server sent for {name}"),
                expected=N_("each result is what read() returned, in the order of the URLs"),
                advice=N_("Read the results from a list of futures that has the order of the URLs."),
                position=position,
                name=names[position],
            )
