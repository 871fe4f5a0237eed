"""Day 3's targets, measured on the cluster as it runs, and the last fault's chain, in words. Pure.

The demo measures the same targets in one run (``labkit.demo.targets``). Here they are about the present: the
last minute, and the last fault. A target that nothing has measured yet is neither met nor missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from labkit.cluster.status import WorkerRow
from labkit.cluster.status_text import cause_in_words, is_ready
from labkit.gateway.last_fault import BROKER, PAUSE, Chain
from labkit.panel.feed import Second
from labkit.support.i18n import _
from labkit.support.text import seconds

TOLERANCE = 0.5
"""How far a worker's share may be from an equal one, relative to it, as in the demo."""
RECOVERY_S = 30.0
MIN_RESULTS = 12


class Compared(NamedTuple):
    """The latest comparison of all engines: how many pictures, and whether all their pixels were equal."""

    images: int
    equal: bool


class Measured(NamedTuple):
    """What the targets are measured from."""

    workers: Sequence[WorkerRow]
    seconds: Sequence[Second]
    """The results of the last minute."""
    chain: Chain | None
    done: int
    late: int
    """Late results that were counted and dropped."""
    twice: int
    """Tasks with two outcomes."""
    compared: Compared | None
    now: float


class Promise(NamedTuple):
    """One target with its measurement, in the reader's language; ``met`` None: not measured."""

    id: str
    title: str
    measured: str
    met: bool | None


def promises(m: Measured) -> list[Promise]:
    """Return the seven targets of day 3."""
    return [
        _active(m),
        _equal_shares(m),
        _others_suffice(m),
        _recovery(m),
        _nothing_lost(m),
        _nothing_twice(m),
        _same_pixels(m),
    ]


def _not_yet(id: str, title: str, why: str) -> Promise:
    return Promise(id, title, why, None)


def _active(m: Measured) -> Promise:
    n, ready = len(m.workers), sum(map(is_ready, m.workers))
    title = _("{n}/{n} workers active").format(n=n)
    return Promise("workers_active", title, _("{ready}/{n} now").format(ready=ready, n=n), 0 < n == ready)


def _equal_shares(m: Measured) -> Promise:
    frozen = None if m.chain is None or _are_few(m.chain.before) else m.chain.before
    results = _present_shares(m) if frozen is None else frozen
    n, total = len(results), sum(results.values())
    low, high = (1 - TOLERANCE) / max(1, n), (1 + TOLERANCE) / max(1, n)
    title = _("{low:.0f} % to {high:.0f} % of the results each").format(low=100 * low, high=100 * high)
    if _are_few(results) or (frozen is None and not all(map(is_ready, m.workers))):
        return _not_yet("equal_shares", title, _("too few results to say"))
    shares = ", ".join(f"{100 * count / total:.0f} %" for count in results.values())
    measured = _("{shares} in the last minute") if frozen is None else _("{shares} before the fault")
    met = all(low <= count / total <= high for count in results.values())
    return Promise("equal_shares", title, measured.format(shares=shares), met)


def _are_few(results: Mapping[str, int]) -> bool:
    return sum(results.values()) < MIN_RESULTS * max(1, len(results))


def _present_shares(m: Measured) -> dict[str, int]:
    """Return the results of each worker in the last minute, without the time before a fault's end."""
    counted = list(m.seconds)
    if m.chain is not None and counted and m.chain.began_at > counted[0].t:
        back_at = m.chain.back_at
        counted = [] if back_at is None else [second for second in counted if second.t >= back_at]
    names = [worker["name"] for worker in m.workers]
    return {name: sum(second.by_worker.get(name, 0) for second in counted) for name in names}


def _others_suffice(m: Measured) -> Promise:
    n, chain = len(m.workers), m.chain
    title = _("{others}/{n} workers suffice").format(others=max(0, n - 1), n=n)
    if chain is None or chain.noticed_at is None or chain.target not in {w["name"] for w in m.workers}:
        return _not_yet("others_suffice", title, _("kill a worker to measure it"))
    results = chain.results.total()
    span = (chain.back_at if chain.back_at is not None else m.now) - chain.noticed_at
    measured = _("{results} results in {span}, {failed} failed").format(
        results=results, span=seconds(max(0.0, span)), failed=chain.failed
    )
    met: bool | None = results > 0 and chain.failed == 0
    return Promise("others_suffice", title, measured, met if results or chain.failed else None)


def _recovery(m: Measured) -> Promise:
    title = _("recovery under {limit:.0f} s").format(limit=RECOVERY_S)
    chain = m.chain
    if chain is None:
        return _not_yet("recovery", title, _("kill a worker to measure it"))
    if chain.recovery_s is None:
        waited = m.now - chain.began_at
        met = None if waited < RECOVERY_S else False
        return Promise("recovery", title, _("under way for {span}").format(span=seconds(waited)), met)
    return Promise("recovery", title, seconds(chain.recovery_s), chain.recovery_s < RECOVERY_S)


def _nothing_lost(m: Measured) -> Promise:
    title, chain = _("nothing lost"), m.chain
    if chain is None or not chain.held:
        return _not_yet("nothing_lost", title, _("kill a busy worker to measure it"))
    ended = chain.held - len(chain.open)
    if chain.target == BROKER:
        words = _("{n} of {held} open tasks have their outcome")
    else:
        words = _("{n} of {held} tasks of {target} have their outcome")
    measured = words.format(n=ended, held=chain.held, target=chain.target)
    met = True if not chain.open else None if m.now - chain.began_at < RECOVERY_S else False
    return Promise("nothing_lost", title, measured, met)


def _nothing_twice(m: Measured) -> Promise:
    title = _("nothing delivered twice")
    measured = _("{n} results, {late} late ones dropped").format(n=m.done, late=m.late)
    return Promise("nothing_twice", title, measured, m.twice == 0 if m.done else None)


def _same_pixels(m: Measured) -> Promise:
    title = _("same pixels as the plain loop")
    if m.compared is None:
        return _not_yet("same_pixels", title, _("compare the engines to measure it"))
    n = m.compared.images
    if m.compared.equal:
        measured = _("{same} of {n} pictures equal").format(same=n, n=n)
    else:
        measured = _("not all of {n} pictures equal").format(n=n)
    return Promise("same_pixels", title, measured, m.compared.equal)


class Link(NamedTuple):
    """One link of a recovery: its name, and how long after the fault it was (or why that is not known)."""

    name: str
    after: str
    reached: bool


def links(chain: Chain) -> list[Link]:
    """Return the links of a recovery in the reader's language."""
    none, again = _nothing_held(chain), ""
    if chain.elsewhere_at is not None and chain.requeued_at is None:
        again = _("none had to be")
    if chain.target == BROKER:
        # A frozen broker goes on itself; a broker that ended is followed by another one.
        frozen = chain.woke or (chain.fault == PAUSE and chain.noticed_at is None)
        noticed = _("the broker answers again") if frozen else _("a new broker takes up its work")
        requeued = _("open tasks in the queue again")
        done = _("first of them done")
    else:
        noticed, requeued = _("noticed by the broker"), _("its tasks in the queue again")
        itself = chain.elsewhere_by == chain.target
        done = _("first of them done, by itself") if itself else _("first of them done by another")
    rows = [
        (noticed, chain.noticed_at, ""),
        (requeued, chain.requeued_at, none or again),
        (done, chain.elsewhere_at, none),
        (_("throughput back at 95 %"), chain.restored_at, _not_back(chain.unrestored)),
    ]
    return [
        Link(name, why or "…", False) if at is None else Link(name, seconds(at - chain.began_at), True)
        for name, at, why in rows
    ]


def heading(chain: Chain) -> str:
    """Return what happened, in the reader's language: the command and its target, or the loss."""
    what = f"{chain.fault} {chain.target}" if chain.fault else _("{target} lost").format(target=chain.target)
    return f"{what} ({cause_in_words(chain.cause)})" if chain.cause else what


def _nothing_held(chain: Chain) -> str:
    if chain.noticed_at is None or chain.held:
        return ""
    return _("no task was open") if chain.target == BROKER else _("it held none")


def _not_back(reason: str) -> str:
    if reason == "few_before":
        return _("cannot be said: too few results before the fault")
    return _("not within a minute") if reason else ""
