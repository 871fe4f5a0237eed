"""One moment of a cluster, as the panel shows it: a pure function of the status and the feed.

``moment_of`` decides what is shown: the cards, their text, the buttons that can be pressed, the headline.
``page`` writes it as HTML and ``panel`` hands it to the widgets, so the panel's content is tested without a
browser.

A card shows a worker's two states side by side, because they may disagree: what its process does, and what
the broker thinks of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from labkit.cluster.processes import ProcessRow
from labkit.cluster.status import ClusterStatus, WorkerRow
from labkit.cluster.status_text import (
    COMMANDS,
    STATES,
    broker_in_words,
    mirror_in_words,
    ready_in_words,
    state_in_words,
    state_of,
    workers_to_show,
)
from labkit.panel.feed import CHART_S, HARM, HARMLESS, PLAIN, Feed, LogLine, Mark, Second
from labkit.support.i18n import _
from labkit.support.palette import PALE, worker_colour
from labkit.support.text import Spoken

RATE_OVER_S = 5
"""Seconds over which the rates on the cards are averaged."""
SERVICE_COLOUR = PALE


class Card(NamedTuple):
    """One process of the cluster."""

    name: str
    kind: str
    """worker, broker or redis."""
    colour: str
    """Its own colour, as in the charts."""
    sign: str
    state: str
    """Its present state in words: "busy", "killed, lost"."""
    tone: str
    """The colour of the state: a key of ``status_text.TONES``."""
    facts: tuple[tuple[str, str], ...]
    """Rows of (name, value); first the supervisor's state and the broker's."""
    commands: frozenset[str]
    """The commands that are offered now."""
    pending: str
    """The command that is being carried out, in words; empty if there is none."""


class Moment(NamedTuple):
    """Everything that the panel shows."""

    cluster: str
    headline: str
    cards: tuple[Card, ...]
    workers: int
    """How many workers the cluster should have."""
    seconds: tuple[Second, ...]
    marks: tuple[Mark, ...]
    log: tuple[LogLine, ...]
    """The newest line first."""
    now: float
    problem: str
    """Why something cannot be shown, in words; empty if nothing is wrong."""


def moment_of(
    status: ClusterStatus,
    feed: Feed,
    monotonic: float,
    pending: Mapping[str, str] | None = None,
    wall: float | None = None,
) -> Moment:
    """Return the moment that shows ``Cluster.status()`` at our clocks' ``monotonic`` and ``wall``.

    ``pending``: by process, the command that is being carried out. With ``wall``, the faults that no broker
    could record are marked and in the log too.
    """
    pending = pending or {}
    seconds = feed.seconds(monotonic)
    recent = seconds[-RATE_OVER_S:]
    shown = cast(list[WorkerRow], workers_to_show(status))
    workers = [_worker_card(worker, feed, recent, pending) for worker in shown]
    guests = [_guest_card(guest, feed, recent) for guest in status.get("guests", ())]
    services = [_service_card(row, status, pending) for row in status["processes"] if row["kind"] != "worker"]
    return Moment(
        cluster=str(status["cluster"]),
        headline=_headline(
            status, feed, _present_results([*shown, *status.get("guests", ())], recent), recent
        ),
        cards=(*workers, *guests, *services),
        workers=len(workers),
        seconds=tuple(seconds),
        marks=tuple(sorted([*feed.marks(monotonic), *_unrecorded(status, feed.now(monotonic), wall)])),
        log=_log(feed, _unrecorded_lines(status, feed.now(monotonic), wall)),
        now=feed.now(monotonic),
        problem=_problem(status),
    )


def _unrecorded(status: ClusterStatus, now: float, wall: float | None) -> list[Mark]:
    """Return the faults that were done while no broker could record them, as far as the chart shows them."""
    return [mark for mark in _all_unrecorded(status, now, wall) if now - mark.t < min(CHART_S, now)]


def _unrecorded_lines(status: ClusterStatus, now: float, wall: float | None) -> list[LogLine]:
    """Return the lines of the log about those faults."""
    return [
        LogLine(
            mark.t,
            _("command: {command}; no broker could record it").format(command=mark.text),
            HARM if mark.harm else PLAIN,
            mark.text.partition(" ")[2],
        )
        for mark in _all_unrecorded(status, now, wall)
    ]


def _all_unrecorded(status: ClusterStatus, now: float, wall: float | None) -> list[Mark]:
    """Return the faults whose time of day is known and lies after the cluster's start."""
    if wall is None:
        return []
    marks = []
    for row in status["unrecorded_faults"]:
        ago_s = max(0.0, wall - row["wall"]) if "wall" in row else now
        if ago_s < now:
            marks.append(Mark(now - ago_s, f"{row['fault']} {row['target']}", row["fault"] not in HARMLESS))
    return marks


def _log(feed: Feed, more: list[LogLine]) -> tuple[LogLine, ...]:
    """Return the log with ``more`` lines at their times, newest first."""
    lines = [*feed.log, *more]
    return tuple(reversed(sorted(lines, key=lambda line: line.t) if more else lines))


def _delivers(worker: WorkerRow) -> bool:
    """Return whether a worker may deliver results now. The rate of one that is gone is no present rate."""
    return worker["process"] in ("running", "stopping", "elsewhere") and worker["status"] in (
        "ready",
        "busy",
        "suspect",
        "draining",
    )


def _present_results(workers: Sequence[WorkerRow], recent: list[Second]) -> int:
    """Return the latest results of those workers that may deliver more."""
    names = {worker["name"] for worker in workers if _delivers(worker)}
    return sum(second.by_worker.get(name, 0) for second in recent for name in names)


def _headline(status: ClusterStatus, feed: Feed, results: int, recent: list[Second]) -> str:
    parts = [ready_in_words(status)]
    if (broker := status["broker"]) is not None:
        parts.append(_("queue {n}").format(n=broker["queued"]))
    parts.append(_("{n} done").format(n=feed.total))
    parts.append(_("{rate} results/s").format(rate=_rate(results, recent)))
    return " · ".join(parts)


def _rate(results: int, recent: list[Second]) -> str:
    return f"{Spoken(results / len(recent) if recent else 0.0):.1f}"


def _problem(status: ClusterStatus) -> str:
    state = next((row["state"] for row in status["processes"] if row["kind"] == "broker"), "absent")
    if status["broker"] is not None:
        return ""
    if state in ("running", "absent"):  # absent: its container was removed
        return _("The broker does not answer, so what it thinks of the workers is not known.")
    return _("The broker is {state}, so what it thinks of the workers is not known.").format(
        state=STATES[state].word
    )


def _worker_card(worker: WorkerRow, feed: Feed, recent: list[Second], pending: Mapping[str, str]) -> Card:
    name, process, status = str(worker["name"]), str(worker["process"]), str(worker["status"])
    state = STATES[state_of(worker)]
    results = sum(second.by_worker.get(name, 0) for second in recent)
    known = status not in ("absent", "left", "lost", "no_word")
    facts = [
        (_("process"), STATES[process].word),
        (_("broker says"), broker_in_words(worker)),
        (_("in flight"), str(worker["in_flight"]) if known else "–"),
        (_("completed"), str(feed.done(name))),
        (_("per second"), _rate(results, recent) if _delivers(worker) else "–"),
        (_("heartbeat"), _heard(worker["last_heartbeat_age_s"])),
    ]
    if worker["capabilities"]:
        facts.append((_("serves"), ", ".join(worker["capabilities"])))
    if worker["restart_in_s"]:
        facts.append((_("last end"), str(worker["last_exit"])))
    return Card(
        name=name,
        kind="worker",
        colour=worker_colour(name),
        sign=state.sign,
        state=state_in_words(worker, beside=("paused", "killed")),
        tone=state.tone,
        facts=tuple(facts),
        commands=_commands(process, name, pending),
        pending=_pending(name, pending),
    )


def _guest_card(guest: WorkerRow, feed: Feed, recent: list[Second]) -> Card:
    """Return the card of a worker that is no process of this cluster's: no command applies to it."""
    card = _worker_card({**guest, "process": "running"}, feed, recent, {})
    facts = ((_("process"), _("elsewhere")), *card.facts[1:])
    return card._replace(facts=facts, commands=frozenset())


def _heard(age_s: float | None) -> str:
    return "–" if age_s is None else _("{seconds:.1f} s ago").format(seconds=Spoken(age_s))


def _service_card(row: ProcessRow, status: ClusterStatus, pending: Mapping[str, str]) -> Card:
    name = str(row["name"])
    facts: list[tuple[str, str]] = []
    if (broker := status["broker"]) is not None:
        if row["kind"] == "broker":
            facts = [(_("queue"), str(broker["queued"])), (_("in flight"), str(broker["assigned"]))]
        elif row["kind"] == "redis":
            facts = [(_("status"), mirror_in_words(str(broker.get("mirror", "starting"))))]
    state = STATES[row["state"]]
    return Card(
        name=name,
        kind=str(row["kind"]),
        colour=SERVICE_COLOUR,
        sign=state.sign,
        state=state.word,
        tone=state.tone,
        facts=tuple(facts),
        commands=_commands(str(row["state"]), name, pending),
        pending=_pending(name, pending),
    )


def _commands(process: str, name: str, pending: Mapping[str, str]) -> frozenset[str]:
    """Return the commands to offer: one at a time, except that a kill may cut a long stop short."""
    commands = frozenset(STATES[process].commands) if process in STATES else frozenset()
    if name in pending:
        return commands & {"kill"} if pending[name] == "stop" else frozenset()
    return commands


def _pending(name: str, pending: Mapping[str, str]) -> str:
    return _("{action} …").format(action=COMMANDS[pending[name]].word) if name in pending else ""
