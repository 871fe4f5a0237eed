"""Chunks: each item once and in order, few enough messages, and no worker without work.

Simulated: lists of many lengths, empty ones included, for different numbers of workers and messages.
"""

from __future__ import annotations

from random import Random

from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding


def simulated(learner: Learner, seed: int) -> None:
    """Judge one division."""
    random = Random(f"{seed} chunks")
    workers = random.randint(1, 8)
    messages = workers * random.randint(1, 5)
    length = (0, 1, workers, messages, messages + 1)[seed] if seed < 5 else random.randint(1, 500)
    items = [random.randint(0, 9999) for _ in range(length)]
    answer = learner.call("chunks", items, workers, messages)
    facts = {"items": length, "workers": workers, "messages": messages}
    if not isinstance(answer, list) or not all(isinstance(chunk, list) for chunk in answer):
        raise Finding(
            "wrong-type",
            N_("chunks returned something else than a list of lists"),
            expected=N_("a list of chunks, and each chunk is a list of items"),
            advice=N_("items[start:end] is a list; collect such lists in a list."),
        )
    if [item for chunk in answer for item in chunk] != items:
        raise Finding(
            "not-each-once",
            N_("of {items} items your {chunks} chunks hold {held}, or not in their order"),
            expected=N_("each item is in one chunk, and the order is that of the input"),
            advice=N_("Does the next chunk begin where the last one ended? What about the rest at the end?"),
            chunks=len(answer),
            held=sum(map(len, answer)),
            **facts,
        )
    if len(answer) > messages:
        raise Finding(
            "too-many-messages",
            N_("{items} items became {chunks} chunks, each a message"),
            expected=N_("at most {messages} messages"),
            advice=N_("How large must a chunk be at least? Round up."),
            chunks=len(answer),
            **facts,
        )
    if not all(answer):
        raise Finding(
            "empty-chunk",
            N_("one of the {chunks} chunks is empty"),
            expected=N_("no message without work"),
            advice=N_("If there are fewer items than messages, there are fewer chunks."),
            chunks=len(answer),
            **facts,
        )
    largest = max(map(len, answer), default=0)
    if length and largest > max(1, -(-length // min(workers, messages))):
        raise Finding(
            "idle-workers",
            N_("the largest chunk holds {largest} of {items} items; some of the {workers} workers have none"),
            expected=N_("no chunk is larger than a worker's equal share"),
            advice=N_("Use as many messages as you may: small chunks balance the work."),
            largest=largest,
            **facts,
        )
