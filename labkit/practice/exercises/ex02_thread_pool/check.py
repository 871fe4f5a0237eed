"""A thread pool for slow reads: requests overlap at the server, results come in the order of the input.

Judged at our own server, by what it saw. It is stubborn in two ways, so that no verdict depends on speed: the
first request waits for a second one, and the first URL's answer comes after all others.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from labkit.core.errors import N_
from labkit.imaging import photos
from labkit.imaging.photos import Photo
from labkit.practice.learner import Learner
from labkit.practice.pacer import Pacer
from labkit.practice.slow_server import SlowServer
from labkit.practice.verdict import Finding, Inconclusive

READS = 8
ALONE_S = 2.0
"""A request that has no company after so long will have none. Here and below, time in which the machine kept
the readers from running does not count."""
QUIET_S = 0.3
PATIENCE = 20
"""A busy machine gets this many times as long for what takes ``QUIET_S``."""
ALONE_PATIENCE = 4
POLL_S = 0.02
CALL_S = 10.0


class Stubborn(SlowServer):
    """Holds back the first request until a second one comes, and ``last`` until the others are answered."""

    def __init__(self, pictures: Sequence[Photo], last: str, pacer: Pacer) -> None:
        self.requests: Counter[str] = Counter()
        self.is_sure = True
        """Whether a request without company would have had company on an idle machine."""
        self._pacer = pacer
        self._last = last
        self._answered = 0
        self._met = False
        self._alone = False
        self._changed = threading.Condition()
        super().__init__(latency_s=0.05, at_once=len(pictures), pictures=pictures)

    def delay(self, name: str) -> None:
        """Wait as the class says, and count the request."""
        with self._changed:
            self.requests[name] += 1
            self._met |= self.most_at_once > 1
            self._changed.notify_all()
            if not self._wait(lambda: self._met or self._alone, ALONE_S, ALONE_PATIENCE):
                self.is_sure = False
            self._alone = not self._met
        super().delay(name)
        with self._changed:
            self._answered += name != self._last
            self._changed.notify_all()
            if name == self._last and self._met:
                while self._answered < len(self.names) - 1:
                    before = self._answered
                    self._wait(lambda: self._answered > before, QUIET_S, PATIENCE)  # noqa: B023
                    if self._answered == before:
                        break
                self._wait(self._closing.is_set, QUIET_S, PATIENCE)  # the other answers reach their readers

    def _wait(self, condition: Callable[[], bool], seconds: float, patience: int) -> bool:
        """Wait until ``condition()`` holds, at most so long; the lock is held before and after it.

        Returns False if the machine was too busy to tell whether it would have come to hold.
        """
        ends_at, gives_up_at = self._pacer.own_s + seconds, time.monotonic() + patience * seconds
        while not condition() and self._pacer.own_s < ends_at:
            if time.monotonic() > gives_up_at:
                return False
            self._changed.wait(POLL_S)
        return True


def real(learner: Learner) -> None:
    """Have the learner's function read from a server of our own."""
    pictures = random.Random().sample(photos.bundled(), READS)
    learner.import_now()
    with Pacer(watches=True) as pacer, Stubborn(pictures, pictures[0].name, pacer) as server:
        answer = learner.call("read_all", server.urls, limit_s=CALL_S)
        judge(answer, [photo.bytes() for photo in pictures], server.names, server.requests)
        if server.most_at_once < 2 and not server.is_sure:
            raise Inconclusive(N_("this machine was too busy to tell whether requests overlap"))
        if server.most_at_once < 2:
            raise Finding(
                "one-at-a-time",
                N_("the server never had more than one of your {requests} requests at the same time"),
                expected=N_("at least two requests are at the server at the same time"),
                advice=N_("Hand all reads to a pool of several threads, then wait for the first result."),
                requests=server.requests.total(),
            )


def judge(answer: Any, right: list[bytes], names: list[str], requests: Counter[str]) -> None:
    """Raise Finding unless each URL was read once and the results are in order."""
    if not isinstance(answer, list):
        raise Finding(
            "wrong-type",
            N_("read_all returned a value of the type {kind}"),
            expected=N_("read_all returns a list"),
            advice=N_("list(…) makes a list of anything that a loop can go through."),
            kind=type(answer).__name__,
        )
    if requests.total() != len(names) or len(requests) != len(names):
        raise Finding(
            "not-once-each",
            N_("the server got {requests} requests, for {different} different photographs"),
            expected=N_("it gets {reads} requests, one for each URL"),
            advice=N_("Call fetch once for each URL."),
            requests=requests.total(),
            different=len(requests),
            reads=len(names),
        )
    if len(answer) != len(right):
        raise Finding(
            "wrong-number",
            N_("read_all returned {results} results for {reads} URLs"),
            expected=N_("one result for each URL"),
            advice=N_("Wait for all reads before you return."),
            results=len(answer),
            reads=len(right),
        )
    for position, (got, wanted) in enumerate(zip(answer, right, strict=True)):
        if got != wanted:
            raise _out_of_order(position, got, right, names)


def _out_of_order(position: int, got: Any, right: list[bytes], names: list[str]) -> Finding:
    if got in right:
        return Finding(
            "wrong-order",
            N_("result {position} is the photograph {got}; the URL at this place is that of {wanted}"),
            expected=N_("the results have the order of the URLs, whichever answer came first"),
            advice=N_("pool.map keeps the order of its input; so does a list of futures, read in its order."),
            position=position,
            got=names[right.index(got)],
            wanted=names[position],
        )
    return Finding(
        "not-a-photograph",
        N_("result {position} is of the type {kind} and not what the server sent for {wanted}"),
        expected=N_("each result is what fetch returned: the bytes of a photograph"),
        advice=N_("Return the results of fetch as they are, not the futures and not a part."),
        position=position,
        kind=type(got).__name__,
        wanted=names[position],
    )
