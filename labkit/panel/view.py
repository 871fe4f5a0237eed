"""One moment of a cluster, as the panel shows it: a pure function of the status and the history's pulse.

``moment_of`` decides everything that is to be seen: which cards there are, what each says, which buttons make
sense now, what the headline counts. ``page`` only writes it down, ``panel`` only hands it to the widgets; so
whatever can be wrong with the panel's words can be tested without a browser.

A worker's two states stand side by side on its card, because they may disagree: what its process does, and
what the broker thinks of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from labkit.cluster.status_text import STATES, mirror_in_words, state_of
from labkit.core.errors import N_
from labkit.panel.pulse import LogLine, Mark, Pulse, Second
from labkit.support.i18n import _, ngettext
from labkit.support.palette import PALE, worker_colour

RATE_OVER_S = 5
"""Seconds over which the rates on the cards are averaged."""
SERVICE_COLOUR = PALE

ACTIONS = {
    "kill": N_("kill"),
    "pause": N_("freeze"),
    "resume": N_("resume"),
    "stop": N_("stop"),
    "start": N_("start"),
}
"""The buttons of a card in their order: the cluster's command, and its word on the button."""

_MEANINGS = {
    "kill": N_("SIGKILL to {name}: a crash, without a word to anybody"),
    "pause": N_("SIGSTOP to {name}: it lives, keeps its connection, and does nothing"),
    "resume": N_("SIGCONT to {name}: it goes on where it was"),
    "stop": N_("SIGTERM to {name}: it finishes what it holds, then leaves; at most 10 s"),
    "start": N_("a new process for {name}"),
}

_FITS = {
    "running": ("kill", "pause", "stop"),
    "paused": ("kill", "resume", "stop"),
    "stopping": ("kill",),
    "restarting": ("stop",),
    "stopped": ("start",),
    "killed": ("start",),
}

SIGNS = {
    "ready": "●", "busy": "◐", "suspect": "?", "draining": "▽", "lost": "✕", "left": "○", "absent": "…",
    "running": "●", "paused": "❚❚", "stopping": "▽", "restarting": "↻", "stopped": "■", "killed": "✕",
}  # fmt: skip
_TONES = {
    "ready": "good", "busy": "good", "running": "good", "suspect": "warn", "draining": "warn",
    "absent": "warn", "stopping": "warn", "restarting": "harm", "paused": "harm", "lost": "harm",
    "killed": "harm", "stopped": "off", "left": "off",
}  # fmt: skip


class Card(NamedTuple):
    """One process of the cluster."""

    name: str
    kind: str
    """worker, broker or redis."""
    colour: str
    """Its own colour, as in the charts."""
    sign: str
    state: str
    """What it is now, in words: "busy", "killed, lost"."""
    tone: str
    """good, warn, harm or off: how the state is coloured, beside its sign and words."""
    facts: tuple[tuple[str, str], ...]
    """What there is to know, as (name, value); first what its supervisor and the broker each say of it."""
    fits: frozenset[str]
    """The commands that make sense now."""
    pending: str
    """What is being done to it, in words; empty if nothing is."""


class Moment(NamedTuple):
    """Everything that the panel shows."""

    cluster: str
    headline: str
    cards: tuple[Card, ...]
    workers: int
    """How many workers the cluster is to have."""
    seconds: tuple[Second, ...]
    marks: tuple[Mark, ...]
    log: tuple[LogLine, ...]
    """The newest line first."""
    now: float
    problem: str
    """Why less than everything can be shown, in words; empty if nothing is wrong."""


def meaning(action: str, name: str) -> str:
    """Return what a button does, in words."""
    return _(_MEANINGS[action]).format(name=name)


def moment_of(
    status: Mapping[str, Any], pulse: Pulse, monotonic: float, pending: Mapping[str, str] | None = None
) -> Moment:
    """Return what is to be seen of ``Cluster.status()`` at our clock's ``monotonic``.

    ``pending``: by process, the command that is being carried out.
    """
    pending = pending or {}
    seconds = pulse.seconds(monotonic)
    recent = seconds[-RATE_OVER_S:]
    workers = [_worker_card(worker, pulse, recent, pending) for worker in status["workers"]]
    guests = [_guest_card(guest, pulse, recent) for guest in status.get("guests", ())]
    services = [_service_card(row, status, pending) for row in status["processes"] if row["kind"] != "worker"]
    return Moment(
        cluster=str(status["cluster"]),
        headline=_headline(status, pulse, recent),
        cards=(*workers, *guests, *services),
        workers=len(workers),
        seconds=tuple(seconds),
        marks=tuple(pulse.marks(monotonic)),
        log=tuple(reversed(pulse.log)),
        now=pulse.now(monotonic),
        problem=_problem(status),
    )


def ready(status: Mapping[str, Any]) -> int:
    """Return how many workers run and are known to the broker as able to work."""
    rows = status["workers"]
    return sum(row["process"] == "running" and row["status"] in ("ready", "busy") for row in rows)


def _headline(status: Mapping[str, Any], pulse: Pulse, recent: list[Second]) -> str:
    n = len(status["workers"])
    parts = [
        ngettext("{ready} of {n} worker ready", "{ready} of {n} workers ready", n).format(
            ready=ready(status), n=n
        )
    ]
    if (broker := status["broker"]) is not None:
        parts.append(_("queue {n}").format(n=broker["queued"]))
    parts.append(_("{n} done").format(n=sum(pulse.done.values())))
    results = sum(sum(second.by_worker.values()) for second in recent)
    parts.append(_("{rate} results/s").format(rate=_rate(results, recent)))
    return " · ".join(parts)


def _rate(results: int, recent: list[Second]) -> str:
    return f"{results / len(recent):.1f}" if recent else "0.0"


def _problem(status: Mapping[str, Any]) -> str:
    state = next((row["state"] for row in status["processes"] if row["kind"] == "broker"), "absent")
    if status["broker"] is not None or state == "absent":
        return ""
    if state == "running":
        return _("The broker does not answer, so what it thinks of the workers is not known.")
    return _("The broker is {state}, so what it thinks of the workers is not known.").format(
        state=_(STATES[state])
    )


def _worker_card(
    worker: Mapping[str, Any], pulse: Pulse, recent: list[Second], pending: Mapping[str, str]
) -> Card:
    name, process, status = str(worker["name"]), str(worker["process"]), str(worker["status"])
    key = state_of(worker)
    state = _(STATES[key])
    if process in ("paused", "killed") and status in ("suspect", "lost"):
        state = f"{state}, {_(STATES[status])}"
    results = sum(second.by_worker.get(name, 0) for second in recent)
    known = status not in ("absent", "left", "lost")
    facts = [
        (_("process"), _(STATES[process])),
        (_("broker says"), _(STATES[status])),
        (_("in flight"), str(worker["in_flight"]) if known else "–"),
        (_("completed"), str(pulse.done[name])),
        (_("per second"), _rate(results, recent)),
        (_("heartbeat"), _heard(worker["last_heartbeat_age_s"])),
    ]
    if worker["capabilities"]:
        facts.append((_("serves"), ", ".join(worker["capabilities"])))
    if worker["restart_in_s"]:
        facts.append((_("last end"), str(worker["last_exit"])))
    return Card(
        name, "worker", worker_colour(name), SIGNS[key], state, _TONES[key], tuple(facts),
        _fits(process, name, pending), _pending(name, pending),
    )  # fmt: skip


def _guest_card(guest: Mapping[str, Any], pulse: Pulse, recent: list[Second]) -> Card:
    """Return the card of a worker that is no process of this cluster's: nobody here can do anything to it."""
    card = _worker_card({**guest, "process": "running"}, pulse, recent, {})
    facts = ((_("process"), _("elsewhere")), *card.facts[1:])
    return card._replace(facts=facts, fits=frozenset())


def _heard(age_s: float | None) -> str:
    return "–" if age_s is None else _("{seconds:.1f} s ago").format(seconds=age_s)


def _service_card(row: Mapping[str, Any], status: Mapping[str, Any], pending: Mapping[str, str]) -> Card:
    name, state = str(row["name"]), str(row["state"])
    facts: list[tuple[str, str]] = []
    if (broker := status["broker"]) is not None:
        if row["kind"] == "broker":
            facts = [(_("queue"), str(broker["queued"])), (_("in flight"), str(broker["assigned"]))]
        elif row["kind"] == "redis":
            facts = [(_("status"), mirror_in_words(str(broker.get("mirror", "starting"))))]
    return Card(
        name, str(row["kind"]), SERVICE_COLOUR, SIGNS[state], _(STATES[state]), _TONES[state], tuple(facts),
        _fits(state, name, pending), _pending(name, pending),
    )  # fmt: skip


def _fits(process: str, name: str, pending: Mapping[str, str]) -> frozenset[str]:
    """Return the commands that make sense now: one at a time, but a kill may cut a long stop short."""
    fits = frozenset(_FITS.get(process, ()))
    if name in pending:
        return fits & {"kill"} if pending[name] == "stop" else frozenset()
    return fits


def _pending(name: str, pending: Mapping[str, str]) -> str:
    return _("{action} …").format(action=_(ACTIONS[pending[name]])) if name in pending else ""
