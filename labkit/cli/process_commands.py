"""``kill``, ``pause``, ``resume``, ``stop``, ``start``: act on one process and report the effect."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.cluster import READY_S, broker_is_down, connected, name_option
from labkit.cli.parser import Parser
from labkit.cluster.processes import API, BROKER, REDIS, WORKER
from labkit.cluster.status import recovery_command
from labkit.cluster.status_text import STATES
from labkit.core import history as h
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.support.i18n import _, ngettext
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster
    from labkit.cluster.history_file import EventFile

NOTICE_S = 1.0
"""How long `kill` waits for the broker to notice. It sees a closed connection within milliseconds."""
POLL_S = 0.01


def configure(name: str, parser: Parser) -> None:
    """Declare the options of the command called ``name``."""
    parser.add_argument(
        "target", metavar="WORKER", help=_("worker-1, worker-2 ...; also broker, redis or api")
    )
    name_option(parser)
    parser.examples(f"{name} worker-2")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Carry out the command and return the exit code."""
    do = {"kill": _kill, "pause": _pause, "resume": _resume, "stop": _stop, "start": _start}[options.command]
    with connected(options, settings) as cluster:
        try:
            steps = do(cluster, options.target, settings)
        except ClusterError as error:
            raise _why_not(error, cluster, options.target) from error
    output.next_steps(*steps)
    return 0


Steps = list[tuple[str, str]]


def _why_not(error: ClusterError, cluster: Cluster, target: str) -> ClusterError:
    """Return ``error`` with the state in words and a next step, if the state made it impossible."""
    in_containers = cluster.backend == "compose" and not isinstance(error, ClusterNotRunning)
    if in_containers and recovery_command(cluster.status()["processes"], target) == "up":
        return ClusterError(N_("{name} was never started; python -m labkit up makes it anew"), name=target)
    state, name = str(error.params.get("state", "")), error.params.get("name")
    if "fault" not in error.params or state not in STATES:
        return error
    command = STATES[state].recovery or "status"
    return ClusterError(
        N_("{name} is {state} already, so there is nothing to {fault}; python -m labkit {command}"),
        name=name,
        state=STATES[state].word,
        fault=error.params["fault"],
        command=command if command == "status" else f"{command} {name}",
    )


def _is_worker(target: str) -> bool:
    """Return whether ``target``, the name of a process, is a worker's: elastic ones may have any name."""
    return target not in (BROKER, REDIS, API)


def _watch() -> tuple[str, str]:
    return "status", _("show its state")


def _kill(cluster: Cluster, target: str, _settings: Settings) -> Steps:
    events = cluster.event_file()
    events.skip()
    noted_at = cluster.kill(target)
    output.line(_("{target} was killed (SIGKILL). It stays down until it is started.").format(target=target))
    if _is_worker(target):
        _report_detection(events, target, noted_at)
    elif target == "broker":
        output.line(
            _(
                "Nothing is lost: clients keep what they have submitted, "
                "and submit it again to the next broker."
            )
        )
    elif target == "redis":
        output.line(_("The cluster works without it; only redis-cli has nothing to show."))
    elif target == API:
        output.line(_("The cluster works without it; only curl and the dashboard get no answer."))
    return [(f"start {target}", _("start it again")), _watch()]


def _report_detection(events: EventFile, worker: str, noted_at: float) -> None:
    """Report from the history how soon the broker saw the death, and what happened to the tasks."""
    deadline = time.monotonic() + NOTICE_S
    since: list[h.Event] = []
    while time.monotonic() < deadline:
        since += [event for event in events.read() if event.at >= noted_at and event.worker == worker]
        lost = next((event for event in since if event.kind == h.LOST), None)
        if lost is not None:
            n = sum(event.kind == h.REQUEUED for event in since)
            text = ngettext(
                "The broker noticed after {ms:.0f} ms and put {n} task back at the head of the queue.",
                "The broker noticed after {ms:.0f} ms and put {n} tasks back at the head of the queue.",
                n,
            )
            if n == 0:
                text = _("The broker noticed after {ms:.0f} ms. The worker held no task.")
            output.line(text.format(ms=(lost.at - noted_at) * 1000, n=n))
            return
        time.sleep(POLL_S)


def _pause(cluster: Cluster, target: str, settings: Settings) -> Steps:
    cluster.pause(target)
    output.line(
        _("{target} is frozen (SIGSTOP): it keeps its connections and its work, and does nothing.").format(
            target=target
        )
    )
    if _is_worker(target):
        rules = settings.rules
        text = _(
            "The broker suspects it after {suspect:g} s of silence, gives it up after {dead:g} s,"
            " and gives its tasks to other workers."
        )
        output.line(text.format(suspect=rules.suspect_s, dead=rules.dead_s))
    return [(f"resume {target}", _("let it continue")), _watch()]


def _resume(cluster: Cluster, target: str, _settings: Settings) -> Steps:
    cluster.resume(target)
    output.line(_("{target} continues.").format(target=target))
    if _is_worker(target):
        output.line(_("If the broker gave it up meanwhile, it drops its old work and joins as a new worker."))
    return [_watch()]


def _stop(cluster: Cluster, target: str, _settings: Settings) -> Steps:
    events = cluster.event_file()
    events.skip()
    cluster.stop(target)
    row = next((row for row in cluster.status()["processes"] if row["name"] == target), None)
    if row is not None and row["kind"] == WORKER:
        text = _how_it_left(_until_gone(events, target), killed=row["last_exit"] == "SIGKILL")
    elif row is not None and row["last_exit"] == "SIGKILL":
        text = _("{target} did not end in time and was killed. It stays down until it is started.")
    else:
        text = _("{target} is down. It stays down until it is started.")
    output.line(text.format(target=target))
    return [(f"start {target}", _("start it again")), _watch()]


def _until_gone(events: EventFile, worker: str) -> list[h.Event]:
    """Return the events about a worker up to its goodbye or loss, or those of the next ``NOTICE_S``."""
    deadline = time.monotonic() + NOTICE_S
    found: list[h.Event] = []
    while True:
        found += [event for event in events.read() if event.worker == worker]
        if any(event.kind in (h.LEFT, h.LOST) for event in found) or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_S)


def _how_it_left(about: list[h.Event], killed: bool) -> str:
    """Return a text for ``target``: what became of a stopped worker and its tasks."""
    unfinished = sum(e.kind == h.REQUEUED and e.detail.get("cause") in ("lost", "left") for e in about)
    returned = sum(e.kind == h.REQUEUED and e.detail.get("cause") == "returned" for e in about)
    if killed and unfinished:
        return _("{target} did not finish in time and was killed; its tasks go to others.")
    if killed:
        return _("{target} did not end in time and was killed. It stays down until it is started.")
    if unfinished:
        return ngettext(
            "{{target}} is down. It did not finish {n} task in time, which goes to another worker.",
            "{{target}} is down. It did not finish {n} tasks in time, which go to other workers.",
            unfinished,
        ).format(n=unfinished)
    if returned:
        return ngettext(
            "{{target}} finished what it was computing, gave {n} waiting task back and is down. "
            "It stays down until it is started.",
            "{{target}} finished what it was computing, gave {n} waiting tasks back and is down. "
            "It stays down until it is started.",
            returned,
        ).format(n=returned)
    if any(event.kind == h.LEFT for event in about):
        return _("{target} finished its tasks and is down. It stays down until it is started.")
    return _("{target} is down. It stays down until it is started.")


def _start(cluster: Cluster, target: str, _settings: Settings) -> Steps:
    cluster.start(target)
    if recovery := recovery_command(cluster.status()["processes"], "broker"):
        output.line(_("{target} is started.").format(target=target))
        return [broker_is_down(recovery), _watch()]
    began = time.monotonic()
    cluster.wait_until_ready(READY_S)
    if target == API:
        cluster.wait_for_api(READY_S)
    output.line(
        _("{target} is up again, after {span}.").format(
            target=target, span=output.seconds(time.monotonic() - began)
        )
    )
    return [_watch()]
