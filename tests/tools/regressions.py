"""Seeds that are kept: each reaches a situation in which the core or a checker was once wrong.

A seed names one run only as long as the simulation draws the same numbers. So each is kept together with
what it must catch: a mutant of ``mutants.py`` or a checker of ``wrong_checkers.py``. ``test_seeds.py`` runs
it with the right parts, which must pass, and with that one, which must fail. When the simulation changes and
a seed misses its aim, look for another one with the same faults.
"""

from __future__ import annotations

from typing import NamedTuple


class Seed(NamedTuple):
    """A run, why it is kept, and what it must catch."""

    seed: int
    faults: str
    """Separated by commas; ``all`` are all but those of ``NOT_IN_ALL``."""
    why: str
    catches: tuple[str, ...]
    workers: int = 5
    tasks: int = 200


NOT_IN_ALL = ("autoscale", "storm", "nest")
"""Kinds of fault that came later: with them these seeds would be other runs."""

CORE = (
    Seed(
        0,
        "kill,hang,poison,partition",
        "a departed worker was remembered with its tasks and their payloads",
        ("departed workers",),
    ),
    Seed(
        1,
        "broker_restart",
        "a client whose clock showed less than zero never sent a task",
        ("clocks below zero",),
    ),
    Seed(
        2,
        "broker_restart,drain,duplicate,poison",
        "attempt 1 of two brokers was mixed up in one worker",
        ("namesakes",),
    ),
    Seed(6, "broker_restart,kill", "attempt 1 of two brokers was mixed up in one worker", ("namesakes",)),
    Seed(
        2,
        "broker_restart,cancel,client_vanish,flood,hang",
        "attempt 1 of two brokers was mixed up in one worker",
        ("namesakes",),
    ),
    Seed(
        23,
        "break,error,hang,pause,poison",
        "a frozen worker's task counted as hung",
        ("freeze is no computing",),
    ),
    Seed(0, "hang,kill,pause", "a frozen worker's task counted as hung", ("freeze is no computing",)),
    Seed(
        56,
        "broker_freeze,hang",
        "a busy worker took the time between two ticks for a freeze, and its lease never ended",
        ("a gap is no freeze",),
    ),
    Seed(
        1,
        "broker_freeze,client_pause,drain,flood,hang,kill,partition,pause",
        "the broker's sleep counted as computing",
        ("sleep is no computing",),
    ),
    Seed(
        29,
        "broker_restart,hang,kill,partition,pause,slow",
        "a worker that woke in time was given up for its lease",
        ("sleep is no computing",),
    ),
    Seed(3, "break,poison", "one process was blamed for two crashes that were none", ("acquittal",)),
    Seed(
        35,
        "break,broker_freeze,broker_restart,kill",
        "broken connections poisoned an innocent task",
        ("acquittal",),
    ),
    Seed(
        17,
        "break,client_vanish,hang,pause",
        "broken connections poisoned an innocent task",
        ("acquittal",),
    ),
    Seed(10, "break", "an innocent task was blamed twice for one process", ("acquittal",), workers=2),
    Seed(
        3,
        "break,duplicate,flood,partition,poison",
        "a poisoned task was run again after a lost message",
        ("verdicts",),
    ),
    Seed(
        3,
        "break,client_pause,error,flood,garbage,kill,partition,poison",
        "a poisoned task was run again after a pause of its client",
        ("verdicts",),
    ),
    Seed(
        2,
        "break,broker_restart,flood,poison,slow",
        "a finished task was submitted again, and the broker died",
        ("verdicts",),
    ),
    Seed(170, "break,client_pause", "a lost hello was never repeated", ("second hello",)),
)
"""Seeds in which the core was wrong."""

CHECKERS = (
    Seed(
        891,
        "break,broker_freeze,duplicate,error,garbage,kill,partition,slow",
        "garbage overtook announced bulk",
        ("garbage overtakes announced bulk",),
    ),
    Seed(
        954,
        "autoscale,broker_restart,flood,partition,poison",
        "a task that was given back was taken for one that was lost",
        ("what is given back counts as lost",),
        tasks=60,
    ),
    Seed(
        13,
        "break,broker_restart,duplicate,lock,pause,poison,slow",
        "a worker's own late hello was taken for another worker's",
        ("a late hello is another worker's",),
        workers=3,
    ),
    Seed(
        18,
        "break,lock,partition,pause",
        "a simulated worker had not looked at its clocks before a task kept the lock",
        ("workers start without a tick",),
        workers=8,
    ),
    Seed(
        40792,
        "autoscale,break,cancel,client_pause,drain,duplicate,error,garbage,hang,kill,lock,partition,pause,slow",
        "a client's opening of a connection was taken for a message",
        ("opening a connection is a message",),
        workers=2,
        tasks=20,
    ),
    Seed(
        10,
        "break,duplicate,lock,partition",
        "a break between a task's dispatch and its start was forgotten",
        ("breaks before a start are forgotten",),
        tasks=60,
    ),
)
"""Seeds in which a checker was wrong, not the core."""

FIRST_CATCHES = (
    Seed(
        0,
        "all",
        "the first seed that catches these",
        (
            "epoch fencing",
            "new epoch on rejoin",
            "requeue",
            "dedupe at the broker",
            "drain before sweep",
            "blame rule",
            "departed workers",
            "resubmission",
            "capabilities",
            "least busy",
            "poison",
            "evidence of quick crashes",
        ),
    ),
    Seed(20, "broker_freeze,duplicate", "the first seed that catches it", ("dedupe at the client",)),
    Seed(3, "break,flood,poison", "the first seed that catches it", ("verdicts",)),
    Seed(
        1,
        "all",
        "the first seed that catches these",
        ("charge for revoked", "no work for suspects", "visible deadline"),
    ),
    Seed(48, "all", "the first seed that catches it", ("sleep is no computing",)),
    Seed(3, "all", "the first seed that catches it", ("namesakes",)),
    Seed(2, "hang,pause", "the first seed that catches it", ("freeze is no computing",)),
    Seed(20, "cancel", "the first seed that catches it", ("answer to revoke",)),
    Seed(21, "break", "the first seed that catches it", ("second hello",)),
    Seed(
        2,
        "broker_freeze,client_pause,drain,flood,hang,kill,partition,pause",
        "catches a broker that never notices silence",
        ("detection",),
    ),
    Seed(40, "slow", "the first seed that catches it", ("patience with bulk",)),
    Seed(0, "duplicate", "the first seed that catches it", ("one worker an id",)),
)
"""Small seeds that catch a mutant."""

REGRESSIONS = CORE + CHECKERS + FIRST_CATCHES
