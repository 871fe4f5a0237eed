"""A bounded queue: never over its limit, in order, nothing lost, and its threads sleep while they wait.

Judged by a record of all calls and returns (play.py makes it). A put that returned and a get that was called
are certain, so that at each entry at least "puts returned minus gets called" items are in the queue.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding, Inconclusive

CALL_S = 12.0

Entry = Sequence[Any]
"""thread, "put" or "get", "called" or "returned", item"""


def real(learner: Learner) -> None:
    """Judge two runs: a queue of one place, and one of several."""
    chance = random.Random()
    for limit in (1, chance.randint(3, 5)):
        producers, consumers = 2 + (limit == 1), chance.randint(2, 4)
        record = learner.play(
            "run", limit, producers, consumers, limit + 1, limit_s=CALL_S, known_as="BoundedQueue"
        )
        judge(record, limit)


def judge(record: dict[str, Any], limit: int) -> None:
    """Raise Finding for the first broken expectation, Inconclusive if a busy machine may be the reason."""
    entries = record["entries"]
    if record["error"]:
        raise _raised(*record["error"])
    _judge_counts(entries, limit)
    _judge_items(entries)
    if record["starved"]:
        raise Inconclusive(N_("this machine was too busy: the threads got no turn"))
    if record["spins"]:
        finding = Finding(
            "spins",
            N_("a thread that waits runs the same lines again and again, while nothing happens in the queue"),
            expected=N_("a thread that waits sleeps until another one wakes it"),
            advice=N_("threading.Condition: wait() sleeps until another thread calls notify_all()."),
        )
        finding.learner_lines = (record["spins"],)
        raise finding
    if record["part"]:
        raise _stuck(entries, limit, record["part"])


def _raised(error: str, lines: Sequence[str]) -> Finding:
    finding = Finding(
        "raised",
        N_("put or get ended with an exception: {error}"),
        expected=N_("put and get wait until they can do their work"),
        advice=N_(
            "A thread that wakes up looks again: while, not if, because another one may have been faster."
        ),
        error=error,
    )
    finding.learner_lines = tuple(lines)
    return finding


def _judge_counts(entries: Sequence[Entry], limit: int) -> None:
    done: Counter[tuple[str, str]] = Counter()
    for _thread, what, step, _item in entries:
        done[what, step] += 1
        put, taken = done["put", "returned"], done["get", "called"]
        if put > limit + taken:
            raise Finding(
                "over-limit",
                N_("put returned {put} times when get had been called {taken} times: the limit is {limit}"),
                expected=N_("put waits as long as the queue holds {limit}"),
                advice=N_("Before put adds an item, it waits until fewer than limit are there."),
                put=put,
                taken=taken,
                limit=limit,
            )


def _judge_items(entries: Sequence[Entry]) -> None:
    got = [item for _thread, what, step, item in entries if (what, step) == ("get", "returned")]
    put = [item for _thread, what, step, item in entries if (what, step) == ("put", "called")]
    if None in got:
        raise Finding(
            "from-empty",
            N_("get returned None; no thread has put None"),
            expected=N_("get waits as long as the queue is empty"),
            advice=N_("get waits until there is an item, then takes it and returns it."),
        )
    for item, times in Counter(map(repr, got)).items():
        if times > 1 or item not in map(repr, put):
            raise Finding(
                "not-once-each",
                N_("get returned {item} {times} times; it was put {put} times"),
                expected=N_("each item that was put comes out once"),
                advice=N_("Take an item out of the queue and return this same item."),
                item=item,
                times=times,
                put=list(map(repr, put)).count(item),
            )
    # Up to here only one consumer at a time was there, so that the record has the order of the gets.
    single = [
        item for thread, what, step, item in entries if "consumer" in thread[-8:] and step == "returned"
    ]
    for thread in {entry[0] for entry in entries if entry[1] == "put"}:
        mine = [item for name, what, step, item in entries if name == thread and step == "called"]
        came = [item for item in single if item in mine]
        if came != mine[: len(came)]:
            raise Finding(
                "wrong-order",
                N_("one thread put {put}; they came out as {came}"),
                expected=N_("what is put first comes out first"),
                advice=N_("append puts at one end of a deque, popleft takes from the other."),
                put=", ".join(mine[: len(came)]),
                came=", ".join(came),
            )


def _stuck(entries: Sequence[Entry], limit: int, part: str) -> Finding:
    done = Counter((what, step) for _thread, what, step, _item in entries)
    put, got = done["put", "returned"], done["get", "returned"]
    if part == "full":
        return Finding(
            "waits-too-early",
            N_("put returned {put} times and then waited: the limit is {limit}, and nothing was taken yet"),
            expected=N_("put waits only when the queue holds {limit}"),
            advice=N_("Compare the number of items with the limit: put goes on while fewer are there."),
            put=put,
            limit=limit,
        )
    return Finding(
        "stuck",
        N_("nothing moves: {put} items went in, {got} came out, {putting} put and {getting} get wait"),
        expected=N_("a put wakes a get that waits, and a get wakes a put that waits"),
        advice=N_("The method that changes the queue calls notify_all(), still inside with."),
        put=put,
        got=got,
        putting=done["put", "called"] - put,
        getting=done["get", "called"] - got,
    )
