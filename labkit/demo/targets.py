"""The course's promises about a cluster that loses a worker, each measured in one run.

Every figure comes from the history, except two that only the client knows: how often each result was
delivered, and the results themselves. A target is met or missed; the measurement stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Recovery
from labkit.demo.run import VICTIM, Ran
from labkit.demo.story import recovery_of, rejoined_at
from labkit.support.i18n import _
from labkit.support.text import seconds

FAIR_SHARE_TASKS, FAIR_SHARE_PART = 2, 0.1
"""How far a worker's results may be from what is fair: two tasks, and a tenth of it.

Two tasks, because at any instant a worker holds up to two (the one that it computes and the next), so a count
that stops at the kill is uncertain by that much. A tenth, because tasks are not all equal and a speed is
measured. A policy that forgets or prefers a worker is off by more. The more tasks, the narrower it becomes:
13 % to 53 % for 12 tasks, 29 % to 38 % for 180.

Fair is an equal share, or the one that a worker's measured speed deserves: on a busy machine with fewer cores
than workers the operating system slows one worker down, and least-busy rightly gives it less. 17 %, 24 % and
59 % of 41 results were seen, for 17 %, 24 % and 59 % of the speed. The target then shows the speeds."""
RECOVERY_S = 30.0


class Target(NamedTuple):
    """One promise, its measurement, and whether it was met. ``numbers`` are for programs."""

    id: str
    template: str
    """English, with places for ``params``; ``_(template)`` is in the reader's language."""
    params: dict[str, Any]
    measured: str
    """In the reader's language."""
    met: bool
    numbers: dict[str, Any]

    @property
    def title(self) -> str:
        """The promise in English."""
        return self.template.format(**self.params)


def measure(ran: Ran, workers: int, different: Sequence[str]) -> list[Target]:
    """Return the targets of a run on ``workers`` workers.

    ``different``: the names of the pictures whose results differ from the reference.
    """
    chain = recovery_of(ran.history, VICTIM)
    return [
        _workers_active(ran, workers, chain),
        _equal_shares(ran, workers, chain),
        _the_others_suffice(ran, workers, chain),
        _recovery(chain),
        _nothing_lost(ran, chain),
        _nothing_twice(ran),
        _same_pixels(ran, different),
    ]


def _workers_active(ran: Ran, workers: int, chain: Recovery | None) -> Target:
    before = _ready(ran, ran.submitted_at)
    during = _ready(ran, chain.detected_at) if chain and chain.detected_at is not None else before
    after = _ready(ran, ran.history.duration_s)
    return Target(
        "workers_active",
        N_("{n}/{n} workers active"),
        {"n": workers},
        _("{before}/{n}; after the kill {during}/{n}; then {after}/{n}").format(
            before=before, during=during, after=after, n=workers
        ),
        before == after == workers,
        {"workers": workers, "before": before, "after_kill": during, "at_end": after},
    )


def _ready(ran: Ran, t: float) -> int:
    """Return how many workers were ready at ``t``; a worker that is lost at ``t`` does not count."""
    spans = [span for spans in ran.history.workers().values() for span in spans]
    return sum(
        span.state == "ready" and span.start <= t and (t < span.end or span.end == ran.history.duration_s)
        for span in spans
    )


def _equal_shares(ran: Ran, workers: int, chain: Recovery | None) -> Target:
    counts = ran.history.share(since=ran.submitted_at, until=chain.fault_at if chain else None)
    results = sum(counts.values())
    shares = {name: count / results if results else 0.0 for name, count in counts.items()}
    fair = results / workers
    slack = tolerance(fair)
    low, high = max(fair - slack, 0.0) / max(results, 1), (fair + slack) / max(results, 1)
    complete = len(shares) == workers
    equal = complete and all(abs(count - fair) <= slack for count in counts.values())
    speeds = _speeds(ran, until=chain.fault_at if chain else None)
    deserved = {name: speeds[name] / sum(speeds.values()) for name in shares if name in speeds}
    as_deserved = len(deserved) == workers and all(
        abs(count - deserved[name] * results) <= tolerance(deserved[name] * results)
        for name, count in counts.items()
    )
    measured = _("{shares} of {n} results").format(shares=_percent(shares), n=results)
    if as_deserved and not equal:
        measured = _("{shares} of {n} results; a busy machine gave them {speeds} of its speed").format(
            shares=_percent(shares), n=results, speeds=_percent(deserved)
        )
    return Target(
        "equal_shares",
        N_("{equal:.0f} % each before the kill ({low:.0f} % to {high:.0f} % of {n})"),
        {"equal": 100 / workers, "n": results, "low": 100 * low, "high": 100 * high},
        measured,
        equal or as_deserved,
        {
            "results": counts,
            "shares": {name: round(share, 4) for name, share in shares.items()},
            "deserved_by_speed": {name: round(share, 4) for name, share in deserved.items()},
            "lowest": round(low, 4),
            "highest": round(high, 4),
        },
    )


def tolerance(fair: float) -> float:
    """Return by how many results a worker may miss a fair number of them; see `FAIR_SHARE_TASKS`."""
    return FAIR_SHARE_TASKS + FAIR_SHARE_PART * fair


def _speeds(ran: Ran, until: float | None) -> dict[str, float]:
    """Return how many tasks each worker does per second of computing, from the start of the batch on."""
    took: dict[str, list[float]] = {}
    for event in ran.history.events:
        t = event.at - ran.history.began_at
        if event.kind == h.DONE and t >= ran.submitted_at and (until is None or t < until):
            took.setdefault(event.worker, []).append(float(event.detail.get("compute_s", 0.0)))
    return {name: len(times) / sum(times) for name, times in sorted(took.items()) if sum(times) > 0}


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{100 * share:.0f} %" for share in shares.values())


def _the_others_suffice(ran: Ran, workers: int, chain: Recovery | None) -> Target:
    lost_at = chain.detected_at if chain else None
    back_at = rejoined_at(ran.history, VICTIM, lost_at) if lost_at is not None else None
    counts: dict[str, int] = {}
    span_s = 0.0
    if lost_at is not None and back_at is not None:
        counts = ran.history.share(since=lost_at, until=back_at)
        span_s = back_at - lost_at
    results, of_victim = sum(counts.values()), counts.get(VICTIM, 0)
    failed = sum(row.outcome != "done" for row in ran.history.ledger())
    return Target(
        "others_suffice",
        N_("{others}/{n} workers suffice"),
        {"others": workers - 1, "n": workers},
        _("{results} results in {span}, {failed} failed").format(
            results=results, span=seconds(span_s), failed=failed
        ),
        results > 0 and of_victim == 0 and failed == 0,
        {"results": counts, "seconds": round(span_s, 6), "failed": failed},
    )


def _recovery(chain: Recovery | None) -> Target:
    recovery_s = chain.recovery_s if chain else None
    restored_s = chain.restored_s if chain else None
    return Target(
        "recovery",
        N_("recovery under {limit:.0f} s"),
        {"limit": RECOVERY_S},
        _("not measured") if recovery_s is None else seconds(recovery_s),
        recovery_s is not None and max(recovery_s, restored_s or 0.0) < RECOVERY_S,
        {
            "limit_s": RECOVERY_S,
            "recovery_s": _rounded(recovery_s),
            **(chain_numbers(chain) if chain else {}),
        },
    )


def chain_numbers(chain: Recovery) -> dict[str, Any]:
    """Return the links of a recovery in seconds after the fault, None where one is missing."""
    ends = {
        "detected_s": chain.detected_at,
        "requeued_s": chain.requeued_at,
        "first_result_elsewhere_s": chain.first_result_elsewhere_at,
        "throughput_back_s": chain.restored_at,
    }
    return {
        **{name: None if at is None else _rounded(at - chain.began_at) for name, at in ends.items()},
        "detected_by": chain.cause,
        "held": len(chain.held),
        "throughput_not_back": chain.unrestored,
    }


def chain_in_words(chain: Recovery) -> list[tuple[str, str]]:
    """Return (link, seconds after the fault) of a recovery in the reader's language."""
    ends = (chain.detected_at, chain.requeued_at, chain.first_result_elsewhere_at, chain.restored_at)
    names = (
        _("noticed by the broker"),
        _("its tasks in the queue again"),
        _("first of them done by another"),
        _("throughput back at 95 %"),
    )
    rows = [
        (name, "-" if at is None else seconds(at - chain.began_at))
        for name, at in zip(names, ends, strict=True)
    ]
    if chain.restored_at is None:
        rows[-1] = (names[-1], _not_back(chain.unrestored))
    return rows


def _not_back(reason: str) -> str:
    if reason == "few_before":
        return _("cannot be said: too few results before the fault")
    if reason == "few_after":
        return _("cannot be said: too little work left after it")
    return _("not before the batch ended")


def _nothing_lost(ran: Ran, chain: Recovery | None) -> Target:
    rows = [row for row in ran.history.ledger() if row.task in ran.names]
    done = sum(row.outcome == "done" for row in rows)
    held = len(chain.held) if chain else 0
    violations = [str(violation) for violation in ran.history.check(ended=True)]
    return Target(
        "nothing_lost",
        N_("nothing lost"),
        {},
        _("{done} of {n} done, {held} taken over").format(done=done, n=len(ran.names), held=held),
        done == len(rows) == len(ran.names) and not violations and not ran.history.has_gaps,
        {
            "tasks": len(ran.names),
            "done": done,
            "held_by_the_killed": held,
            "broken_promises": violations,
            "gaps_in_the_history": ran.history.has_gaps,
        },
    )


def _nothing_twice(ran: Ran) -> Target:
    recorded = Counter(event.task for event in ran.history.events if event.kind == h.DONE)
    late = ran.history.counts().get(h.DUPLICATE, 0)
    delivered = sum(ran.deliveries.values())
    once = set(recorded.values()) == {1} and set(ran.deliveries.values()) == {1}
    return Target(
        "nothing_twice",
        N_("nothing delivered twice"),
        {},
        _("{n} results, {late} late ones dropped").format(n=delivered, late=late + ran.dropped),
        once and len(recorded) == len(ran.deliveries) == len(ran.names),
        {
            "delivered": delivered,
            "most_deliveries_of_a_task": max(ran.deliveries.values(), default=0),
            "dropped_by_broker": late,
            "dropped_by_client": ran.dropped,
        },
    )


def _same_pixels(ran: Ran, different: Sequence[str]) -> Target:
    same = len(ran.results) - len(different)
    return Target(
        "same_pixels",
        N_("same pixels as the plain loop"),
        {},
        _("{same} of {n} pictures equal").format(same=same, n=len(ran.names)),
        same == len(ran.names),
        {"compared": len(ran.results), "equal": same, "different": list(different)},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
