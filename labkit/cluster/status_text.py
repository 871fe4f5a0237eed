"""The states of a cluster's processes: words, signs, colours, and the commands that apply. One table for all.

``status``, the panel, the demo, the course and every other face read `STATES` and `COMMANDS`.

Each process has two states: what its supervisor knows (``process``), and what the broker thinks of a worker
(``status``). They may disagree, and that is instructive: a frozen process still exists after the broker has
given it up.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.core.errors import N_
from labkit.core.history.causes import LOSSES
from labkit.support.i18n import _, ngettext


@dataclass(frozen=True)
class Tone:
    """The colour of the states that mean the same for a person who watches, as ``#rrggbb``."""

    on_light: str
    """Of text on a light page."""
    on_dark: str


TONES = {
    "good": Tone("#00734F", "#3DDBAA"),
    "warn": Tone("#7A5C00", "#F0E442"),
    "harm": Tone("#B34700", "#FF8A3D"),
    "off": Tone("inherit", "inherit"),
}


@dataclass(frozen=True)
class ProcessState:
    """One state of a process, or of a worker as the broker sees it."""

    _word: str
    sign: str
    """One or two characters that tell the states apart without colour."""
    tone: str
    """A key of `TONES`."""
    terminal: str
    """The style in a terminal, as rich names it: the terminal's own colours."""
    commands: tuple[str, ...] = ()
    """What to offer. The cluster also accepts ``start`` while a process stops or restarts; it is no help."""
    recovery: str = ""
    """The command that ends a state which lasts until a command; empty for states that pass by themselves."""

    @property
    def word(self) -> str:
        """The state in the reader's language."""
        return _(self._word)


STATES = {
    # What the broker thinks of a worker.
    "ready": ProcessState(N_("ready"), "●", "good", "green"),
    "busy": ProcessState(N_("busy"), "◐", "good", "bold green"),
    "suspect": ProcessState(N_("suspect"), "?", "warn", "yellow"),
    "draining": ProcessState(N_("draining"), "▽", "warn", "yellow"),
    "lost": ProcessState(N_("lost"), "✕", "harm", "red"),
    "left": ProcessState(N_("left"), "○", "off", "dim"),
    "absent": ProcessState(N_("joining"), "…", "warn", "yellow"),
    "no_word": ProcessState(N_("no word from the broker"), "…", "warn", "yellow"),
    # What the supervisor knows of a process.
    "running": ProcessState(N_("running"), "●", "good", "green", ("kill", "pause", "stop")),
    "paused": ProcessState(N_("frozen"), "❚❚", "harm", "bold cyan", ("kill", "resume", "stop"), "resume"),
    "stopping": ProcessState(N_("stopping"), "▽", "warn", "yellow", ("kill",)),
    "restarting": ProcessState(N_("restarting"), "↻", "harm", "red", ("stop",)),
    "stopped": ProcessState(N_("stopped"), "■", "off", "dim", ("start",), "start"),
    "killed": ProcessState(N_("killed"), "✕", "harm", "bold red", ("start",), "start"),
}


@dataclass(frozen=True)
class Command:
    """A command that acts on one process: its word on a button, and what it does."""

    _word: str
    _meaning: str

    @property
    def word(self) -> str:
        """The command in the reader's language."""
        return _(self._word)

    def meaning(self, name: str) -> str:
        """Return what the command does to the process ``name``, in the reader's language."""
        return _(self._meaning).format(name=name)


COMMANDS = {
    "kill": Command(N_("kill"), N_("SIGKILL to {name}: a crash, without notice")),
    "pause": Command(N_("freeze"), N_("SIGSTOP to {name}: it lives, keeps its connection, and does nothing")),
    "resume": Command(N_("resume"), N_("SIGCONT to {name}: it goes on where it was")),
    "stop": Command(
        N_("stop"), N_("SIGTERM to {name}: it finishes what it holds, then leaves; at most 10 s")
    ),
    "start": Command(N_("start"), N_("a new process for {name}")),
}
"""The commands that act on one process, in the order of their buttons. The keys are `Cluster`'s methods."""


def workers_to_show(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the workers of ``Cluster.status()`` as faces show them.

    A broker that gives no status has not reported a worker as missing: the word is ``no_word``, not absent.
    """
    word = {} if status["broker"] is not None else {"status": "no_word"}
    return [{**worker, **word} for worker in status["workers"]]


def broker_in_words(worker: Mapping[str, Any]) -> str:
    """Return what the broker says of a worker, in the reader's language."""
    status = str(worker["status"])
    if status == "no_word":
        return _("nothing")
    if status == "absent" and worker["process"] != "running":
        return _("not there")  # a broker that started later has never met it
    return STATES[status].word


def state_of(worker: Mapping[str, Any]) -> str:
    """Return a worker's state, a key of `STATES`: its process's, or the broker's word while that runs.

    ``worker`` is one of ``Cluster.status()["workers"]``.
    """
    process: str = worker["process"]
    return str(worker["status"]) if process == "running" else process


def state_in_words(worker: Mapping[str, Any], beside: Container[str] = ("paused",)) -> str:
    """Return a worker's state in the reader's language.

    ``beside``: the process's states to which the broker's word is added where the broker takes the worker for
    suspect or lost ("frozen, lost").
    """
    process, status = str(worker["process"]), str(worker["status"])
    word = STATES[state_of(worker)].word
    return f"{word}, {STATES[status].word}" if process in beside and status in ("suspect", "lost") else word


def is_ready(worker: Mapping[str, Any]) -> bool:
    """Return whether one of ``Cluster.status()["workers"]`` runs and may get tasks."""
    return worker["process"] == "running" and worker["status"] in ("ready", "busy")


def ready_in_words(status: Mapping[str, Any]) -> str:
    """Return how many workers of ``Cluster.status()`` run and are ready, in the reader's language."""
    rows = status["workers"]
    ready = sum(map(is_ready, rows))
    text = ngettext("{ready} of {n} worker ready", "{ready} of {n} workers ready", len(rows))
    return text.format(ready=ready, n=len(rows))


def cause_in_words(cause: str) -> str:
    """Return how the broker noticed a loss, in the reader's language."""
    return _(LOSSES[cause]) if cause in LOSSES else cause


def mirror_in_words(health: str) -> str:
    """Return the state of the mirror in Redis, in the reader's language."""
    words = {
        "starting": _("starting"),
        "ok": _("mirror up to date"),
        "unreachable": _("unreachable; the cluster runs on without"),
        "denied": _("wrong password or no rights; the cluster runs on without"),
        "unusable": _("cannot be written; the cluster runs on without"),
    }
    return words.get(health, health)
