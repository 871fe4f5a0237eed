"""Seeds that once failed, and why. They stay, whatever the simulation has become meanwhile.

A seed names one run only as long as the simulation draws the same numbers; what really keeps an old bug from
coming back is its mutant in ``mutants.py``. These seeds are those that found it, or the first that finds its
mutant now.
"""

from __future__ import annotations

from typing import NamedTuple

NOT_IN_ALL = ("autoscale",)
"""Kinds of fault that came later: with them these seeds would be other runs."""


class Seed(NamedTuple):
    """A run that failed, and what was wrong."""

    seed: int
    faults: str  # separated by commas, or all
    why: str
    workers: int = 5
    tasks: int = 200


REGRESSIONS = (
    Seed(22, "", "a departed worker was remembered with its tasks and their payloads"),
    Seed(0, "kill,hang,poison,partition", "the same, with faults"),
    Seed(1, "broker_restart", "a client whose clock showed less than zero never sent a task"),
    Seed(3, "broker_restart,drain,duplicate,poison", "attempt 1 of two brokers mixed up in one worker"),
    Seed(19, "broker_restart,kill", "attempt 1 of two brokers mixed up in one worker"),
    Seed(
        10,
        "broker_restart,cancel,client_vanish,flood,hang",
        "attempt 1 of two brokers mixed up in one worker",
    ),
    Seed(33, "break,error,hang,pause,poison", "a frozen worker's task counted as hung"),
    Seed(54, "hang,kill,pause", "a frozen worker's task counted as hung; a busy worker's lease never ended"),
    Seed(56, "broker_freeze,hang", "a busy worker took the time between two ticks for a freeze"),
    Seed(
        2,
        "broker_freeze,client_pause,drain,flood,hang,kill,partition,pause",
        "the broker's sleep counted as computing",
    ),
    Seed(
        810,
        "broker_restart,hang,kill,partition,pause,slow",
        "a worker that woke in time was given up for its lease",
    ),
    Seed(83, "break,poison", "one process was blamed for two crashes that were none"),
    Seed(150, "break,broker_freeze,broker_restart,kill", "broken connections poisoned an innocent task"),
    Seed(546, "break,client_vanish,hang,pause", "broken connections poisoned an innocent task"),
    Seed(10, "break", "an innocent task was blamed twice for one process", workers=2),
    Seed(375, "break,duplicate,flood,partition,poison", "a poisoned task was run again after a lost message"),
    Seed(
        288,
        "break,client_pause,error,flood,garbage,kill,partition,poison",
        "the same, after a pause of its client",
    ),
    Seed(170, "break,client_pause", "a lost hello was never repeated"),
    Seed(
        12138,
        "client_pause,drain,error,flood,hang,pause,poison,slow",
        "the last worker was draining when faults ended",
    ),
    Seed(
        444, "break,broker_restart,flood,poison,slow", "a finished task submitted twice, and the broker died"
    ),
    # --- seeds in which the witness was wrong, not the core ---
    Seed(
        499,
        "break,broker_freeze,duplicate,error,garbage,kill,partition,slow",
        "garbage overtook announced bulk",
    ),
    Seed(7025, "broker_freeze,duplicate,pause", "a sleep of the broker too short to be forgiven"),
    # --- the first seeds that catch the mutants, as the simulation is now ---
    Seed(
        0,
        "all",
        "catches a core without: epoch fencing, new epoch on rejoin, requeue, dedupe at the broker, "
        "drain before sweep, blame rule, departed workers, resubmission, capabilities, least busy, poison, "
        "evidence of quick crashes",
    ),
    Seed(12, "broker_freeze,duplicate", "catches a core without: dedupe at the client"),
    Seed(10, "break", "catches a core without: acquittal", workers=2),
    Seed(10, "break,flood,poison", "catches a core without: verdicts"),
    Seed(1, "all", "catches a core without: charge for revoked, no work for suspects, visible deadline"),
    Seed(48, "all", "catches a core without: sleep is no computing"),
    Seed(8, "all", "catches a core without: namesakes"),
    Seed(1, "hang,pause", "catches a core without: freeze is no computing"),
    Seed(20, "cancel", "catches a core without: answer to revoke"),
    Seed(21, "break", "catches a core without: second hello"),
    Seed(
        2,
        "broker_freeze,client_pause,drain,flood,hang,kill,partition,pause",
        "catches a core without: detection",
    ),
    Seed(31, "slow", "catches a core without: patience with bulk"),
    Seed(0, "duplicate", "catches a core without: one worker an id"),
    Seed(
        954,
        "autoscale,broker_restart,flood,partition,poison",
        "the judge took a task that was given back for one that was lost",
        tasks=60,
    ),
    Seed(
        11076,
        "break,broker_restart,duplicate,lock,pause,poison,slow",
        "the judge took a worker's own late hello for another worker's",
        workers=3,
    ),
    Seed(
        11531,
        "break,duplicate,lock,partition,pause,slow",
        "the judge took a connection for whole whose end had not come through yet",
        workers=2,
    ),
    Seed(
        40456,
        "break,lock,partition,pause",
        "a simulated worker had not looked at its clocks before a task kept the lock",
        workers=8,
    ),
    Seed(
        40792,
        "autoscale,break,cancel,client_pause,drain,duplicate,error,garbage,hang,kill,lock,partition,pause,slow",
        "the judge took a client's opening of a connection for a word",
        workers=2,
        tasks=20,
    ),
    Seed(
        51727,
        "break,duplicate,lock,partition",
        "the judge forgot a break between a task's dispatch and its start",
        tasks=60,
    ),
)
