"""What the course promises of a cluster that loses a worker, each promise measured in one run.

Every figure comes from the history, except two that only the client can know: how often each result was
delivered to it, and what the results are. A target is met or it is not; what was measured stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from labkit.charts.style import seconds
from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Recovery
from labkit.demo.run import VICTIM, Ran
from labkit.demo.story import recovery_of, rejoined_at
from labkit.i18n import _

FAIR_SHARE_TOLERANCE = 0.25
"""How far a worker's share may be from an equal one, as a part of it: 33 % may be 25 % to 42 %.

Before the fault each of three workers does about thirty pictures. Which of them an operating system with two
cores lets run first, and that some pictures take longer than others, makes a difference of a few pictures; a
policy that forgets a worker, or prefers one, misses by far more."""
RECOVERY_S = 30.0


class Target(NamedTuple):
    """One promise: what is wanted, what was measured, whether it was met. ``numbers`` are for programs."""

    id: str
    title: str
    """English; ``_(title)`` is the reader's."""
    wanted: str
    measured: str
    met: bool
    numbers: dict[str, Any]


def measure(ran: Ran, workers: int, different: Sequence[str]) -> list[Target]:
    """Return the targets of a run on ``workers`` workers; ``different``: pictures unlike the reference's."""
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
        N_("Workers active"),
        f"{workers}/{workers}",
        _("{before}/{n} before the kill, {during}/{n} after it, {after}/{n} at the end").format(
            before=before, during=during, after=after, n=workers
        ),
        before == after == workers,
        {"wanted": workers, "before": before, "after_kill": during, "at_end": after},
    )


def _ready(ran: Ran, t: float) -> int:
    """How many workers were ready at ``t``; one that is lost just then is not."""
    spans = [span for spans in ran.history.workers().values() for span in spans]
    return sum(
        span.state == "ready" and span.start <= t and (t < span.end or span.end == ran.history.duration_s)
        for span in spans
    )


def _equal_shares(ran: Ran, workers: int, chain: Recovery | None) -> Target:
    until = chain.fault_at if chain else None
    counts = ran.history.share(since=ran.submitted_at, until=until)
    results = sum(counts.values())
    shares = {name: count / results if results else 0.0 for name, count in counts.items()}
    fair = 1 / workers
    low, high = fair * (1 - FAIR_SHARE_TOLERANCE), fair * (1 + FAIR_SHARE_TOLERANCE)
    return Target(
        "equal_shares",
        N_("Share per worker before the kill"),
        _("about {fair:.0%} ({low:.0%} to {high:.0%})").format(fair=fair, low=low, high=high),
        _("{shares} of {n} results").format(
            shares=", ".join(f"{share:.0%}" for share in shares.values()), n=results
        ),
        len(shares) == workers and all(low <= share <= high for share in shares.values()),
        {"results": counts, "shares": _rounded(shares), "lowest": round(low, 4), "highest": round(high, 4)},
    )


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
        N_("The others suffice while one is down"),
        _("they go on, no task fails"),
        _("{results} results in {span} by {others}/{n} workers; {failed} tasks failed").format(
            results=results, span=seconds(span_s), others=workers - 1, n=workers, failed=failed
        ),
        results > 0 and of_victim == 0 and failed == 0,
        {"results": counts, "seconds": round(span_s, 6), "failed": failed},
    )


def _recovery(chain: Recovery | None) -> Target:
    recovery_s = chain.recovery_s if chain else None
    restored_s = chain.restored_s if chain else None
    met = recovery_s is not None and recovery_s < RECOVERY_S and (restored_s or 0.0) < RECOVERY_S
    return Target(
        "recovery",
        N_("Recovery after kill -9"),
        _("under {seconds:.0f} s").format(seconds=RECOVERY_S),
        _("not measured") if recovery_s is None else seconds(recovery_s),
        met,
        {"limit_s": RECOVERY_S, **(chain_numbers(chain) if chain else {})},
    )


def chain_numbers(chain: Recovery) -> dict[str, Any]:
    """Return the links of a recovery in seconds after the fault, None where one is missing."""
    after = [
        None if at is None else round(at - chain.began_at, 6)
        for at in (
            chain.detected_at,
            chain.requeued_at,
            chain.first_result_elsewhere_at,
            chain.restored_at,
        )
    ]
    names = ("detected_s", "requeued_s", "first_result_elsewhere_s", "throughput_back_s")
    return {
        **dict(zip(names, after, strict=True)),
        "noticed_by": chain.cause,
        "held": len(chain.held),
        "throughput_not_back": chain.unrestored,
    }


def chain_in_words(chain: Recovery) -> list[tuple[str, str]]:
    """Return (link, seconds after the fault) of a recovery in the reader's language."""
    numbers = chain_numbers(chain)
    links = (
        (_("noticed"), "detected_s"),
        (_("its tasks queued again"), "requeued_s"),
        (_("first of them done by another"), "first_result_elsewhere_s"),
        (_("throughput back at 95 %"), "throughput_back_s"),
    )
    reasons: dict[str, Callable[[], str]] = {
        "few_before": lambda: _("too few results before"),
        "few_after": lambda: _("too little work left"),
        "never": lambda: _("not within this batch"),
    }
    told = []
    for name, key in links:
        value = numbers[key]
        missing = reasons.get(chain.unrestored, lambda: "-")() if key == "throughput_back_s" else "-"
        if (
            key == "throughput_back_s"
            and value is not None
            and chain.restored_at == chain.first_result_elsewhere_at
        ):
            told.append((name, _("it did not fall noticeably")))
        else:
            told.append((name, missing if value is None else seconds(value)))
    return told


def _nothing_lost(ran: Ran, chain: Recovery | None) -> Target:
    rows = [row for row in ran.history.ledger() if row.task in ran.names]
    done = sum(row.outcome == "done" for row in rows)
    held = len(chain.held) if chain else 0
    violations = [str(violation) for violation in ran.history.check(ended=True)]
    return Target(
        "nothing_lost",
        N_("Nothing lost"),
        _("{n} of {n} done").format(n=len(ran.names)),
        _("{done} of {n} done, also the {held} that {worker} held").format(
            done=done, n=len(ran.names), held=held, worker=VICTIM
        ),
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
    once = set(recorded.values()) == {1} and set(ran.deliveries.values()) == {1}
    return Target(
        "nothing_twice",
        N_("Nothing delivered twice"),
        _("each result once"),
        _("{n} results, each once; {late} late ones dropped").format(
            n=sum(ran.deliveries.values()), late=late + ran.dropped
        ),
        once and len(recorded) == len(ran.deliveries) == len(ran.names),
        {
            "delivered": sum(ran.deliveries.values()),
            "most_deliveries_of_a_task": max(ran.deliveries.values(), default=0),
            "dropped_by_broker": late,
            "dropped_by_client": ran.dropped,
        },
    )


def _same_pixels(ran: Ran, different: Sequence[str]) -> Target:
    same = len(ran.results) - len(different)
    return Target(
        "same_pixels",
        N_("Same pixels as the plain loop"),
        _("all of them"),
        _("{same} of {n} pictures equal, pixel by pixel").format(same=same, n=len(ran.names)),
        same == len(ran.names),
        {"compared": len(ran.results), "equal": same, "different": list(different)},
    )


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
