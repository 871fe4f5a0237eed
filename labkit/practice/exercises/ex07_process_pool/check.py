"""A process pool whose function can be imported: right results, from at least two processes, under spawn.

Real only. On a busy machine a second process may come too late to get any work, so one attempt with short
calls is followed by one with long ones.
"""

from __future__ import annotations

import time
from random import Random, SystemRandom

from labkit.core.errors import N_
from labkit.practice.learner import BUSY_SHARE, Learner
from labkit.practice.pacer import Pacer
from labkit.practice.verdict import Finding, Inconclusive

CALLS = 4
SHORT_S, LONG_S = 0.15, 1.5
EXPECTED = N_("{calls} pairs of (10 x seconds, process number), in the order of the input")


def real(learner: Learner) -> None:
    """Run the pool, once more with longer calls if one process did everything."""
    random = SystemRandom()
    learner.import_now()
    with Pacer(watches=True) as pacer:
        for about_s in (SHORT_S, LONG_S):
            began, late_s = time.monotonic(), pacer.late_s
            worked, started = _processes(learner, random, about_s)
            if worked > 1:
                return
            is_busy = pacer.late_s - late_s > BUSY_SHARE * (time.monotonic() - began)
    if is_busy and started > 1:
        raise Inconclusive(
            N_("this machine was too busy: of {started} processes one got a turn"), started=started
        )
    raise Finding(
        "one-process",
        N_("one process did all of the {calls} calls"),
        expected=N_("at least two processes share the calls"),
        advice=N_("ProcessPoolExecutor(2) has two processes; map gives them one call each at a time."),
        calls=CALLS,
    )


def _processes(learner: Learner, random: Random, about_s: float) -> tuple[int, int]:
    """Return how many processes did calls of ``about_s`` seconds, and how many were started.

    Raises Finding for a wrong result.
    """
    seconds = [round(about_s * random.uniform(0.5, 1.5), 3) for _ in range(CALLS)]
    own, started, answer = learner.play("run", seconds, limit_s=8.0, known_as="in_processes")
    facts = {"calls": CALLS, "answer": answer}
    if not isinstance(answer, list) or not all(
        isinstance(one, (tuple, list)) and len(one) == 2 for one in answer
    ):
        raise Finding(
            "wrong-type",
            N_("in_processes returned {answer!r}"),
            expected=EXPECTED,
            advice=N_("list(pool.map(work, seconds)) is such a list."),
            **facts,
        )
    if [round(value, 6) for value, _pid in answer] != [round(10 * one, 6) for one in seconds]:
        raise Finding(
            "wrong-result",
            N_("for {seconds} in_processes returned {answer!r}"),
            expected=EXPECTED,
            advice=N_("map keeps the order of its input; as_completed does not."),
            seconds=seconds,
            **facts,
        )
    pids = {pid for _value, pid in answer}
    if own in pids:
        raise Finding(
            "not-in-a-process",
            N_("a call ran in the process that started the pool"),
            expected=N_("every call runs in a process of the pool"),
            advice=N_("A ThreadPoolExecutor has no processes; ProcessPoolExecutor has."),
            **facts,
        )
    if not pids <= set(started):
        raise Finding(
            "unknown-process",
            N_("in_processes returned {answer!r}; not all of these processes were started"),
            expected=N_("the number beside a result is that of the process that did the call"),
            advice=N_("Return os.getpid() from the function that runs in the pool."),
            **facts,
        )
    return len(pids), len(started)
