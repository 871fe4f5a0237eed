"""``down`` and ``scale`` of the background cluster, and how a command's options name a cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.parser import Parser
from labkit.cluster.compose.containers import ClusterIncomplete
from labkit.cluster.open import find, not_running
from labkit.cluster.processes import KILLED, STOPPED
from labkit.cluster.readiness import DEFAULT
from labkit.cluster.status import recovery_command
from labkit.core.errors import ClusterError, ClusterNotRunning
from labkit.support.i18n import _, ngettext, translate_error
from labkit.support.setting_values import BACKENDS
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster

READY_S = 30.0


def configure(name: str, parser: Parser) -> None:
    """Declare the options of the command called ``name``."""
    name_option(parser)
    if name == "scale":
        parser.add_argument("workers", type=int, metavar="N", help=_("number of workers to have"))
        parser.examples("scale 5")
    else:
        parser.examples("down")


def name_option(parser: Parser) -> None:
    """Declare ``--name``, which every command has that speaks to a cluster."""
    parser.add_argument(
        "--name", metavar=_("NAME"), help=_("which cluster (default: LABKIT_CLUSTER, else default)")
    )
    backend_option(parser)


def backend_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--backend``: what the cluster's processes run in."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help=_("local (processes) or compose (containers); default: LABKIT_BACKEND, else local"),
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help=_("print JSON, for programs"))


def backend_of(name: str | None, settings: Settings, backend: str | None) -> str:
    """Return the backend of the cluster that a command is about.

    From now on every command that is printed names that cluster. If two are up, prints which one is meant and
    how to choose the other.
    """
    found = find(name, settings, backend)
    is_named = found.other is not None or backend is not None or settings.backend is not None
    mean(name, settings, found.backend, is_named)
    if found.other is not None:
        output.complain(translate_error(found.both()))
    return found.backend


def mean(name: str | None, settings: Settings, backend: str, is_named: bool) -> None:
    """Name this cluster in printed commands, unless commands without options mean it in every terminal.

    A name from ``LABKIT_CLUSTER`` is printed as well: the command may be pasted where that is not set.
    """
    if name is None and settings.cluster != DEFAULT:
        name = settings.cluster
    output.mean(name=name or "", backend=backend if is_named or backend != BACKENDS[0] else "")


def connected(options: argparse.Namespace, settings: Settings) -> Cluster:
    """Return the running cluster that the options name. Raises ClusterNotRunning with the next step."""
    from labkit.cluster import connect

    backend = backend_of(options.name, settings, options.backend)
    try:
        return connect(options.name, settings, backend=backend)
    except ClusterNotRunning as error:
        raise not_running(options.name, settings, options.backend, error) from error


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the two commands; return the exit code."""
    run_one = {"down": _down, "scale": _scale}[options.command]
    return run_one(options, settings)


def _down(options: argparse.Namespace, settings: Settings) -> int:
    from labkit.cluster import connect
    from labkit.cluster.local.start import clean_up

    backend = backend_of(options.name, settings, options.backend)
    try:
        cluster = connect(options.name, settings, backend=backend)
    except (ClusterNotRunning, ClusterIncomplete):
        if backend == "compose":
            if not _down_leftovers(options, settings):
                raise
            return 0
        ended = clean_up(options.name, settings)
        if not ended:
            raise
        text = _("The cluster had crashed; its remaining processes were ended: {processes}.")
        output.line(text.format(processes=", ".join(ended)))
        return 0
    with cluster:
        file = None
        try:
            file = cluster.keep_history()
        except ClusterError as error:  # a full disk is no reason to stay up
            output.complain(_("warning: {what}").format(what=translate_error(error)))
        cluster.down()
    if file is None:
        output.line(_("The cluster {name!r} is down.").format(name=cluster.name))
    else:
        text = _("The cluster {name!r} is down. Its history is kept in {file}.")
        output.line(text.format(name=cluster.name, file=file))
    return 0


def _down_leftovers(options: argparse.Namespace, settings: Settings) -> bool:
    """Remove the containers of a cluster without a running broker; return whether there were any."""
    from labkit.cluster.compose.start import end_leftovers

    ended = end_leftovers(options.name, settings)
    if ended:
        text = _("The cluster was not whole; its remaining containers were removed: {processes}.")
        output.line(text.format(processes=", ".join(ended)))
    return bool(ended)


def _scale(options: argparse.Namespace, settings: Settings) -> int:
    with connected(options, settings) as cluster:
        before = {worker.name: worker.process for worker in cluster.workers()}
        names = cluster.scale(options.workers)
        recovery = recovery_command(cluster.status()["processes"], "broker")
        if not recovery:
            cluster.wait_until_ready(READY_S)
        down = [worker.name for worker in cluster.workers() if worker.process in (KILLED, STOPPED)]
    listed = ", ".join(names)
    text = ngettext(
        "The cluster has {n} worker now: {names}.", "The cluster has {n} workers now: {names}.", len(names)
    )
    output.line(text.format(n=len(names), names=listed) if names else _("The cluster has no workers now."))
    gone = sorted(before.keys() - set(names))
    if leaving := [name for name in gone if before[name] not in (KILLED, STOPPED)]:
        output.line(
            _("Leaving after they finish their current tasks: {names}.").format(names=", ".join(leaving))
        )
    if removed := [name for name in gone if name not in leaving]:
        output.line(_("Removed; they were down already: {names}.").format(names=", ".join(removed)))
    steps = [("status", _("show them"))]
    down = [name for name in down if name in names]
    if down:
        output.line(_("Down by command: {names}.").format(names=", ".join(down)))
        steps.insert(0, (f"start {down[0]}", _("start it again")))
    if recovery:
        steps.insert(0, broker_is_down(recovery))
    output.next_steps(*steps)
    return 0


def broker_is_down(recovery: str) -> tuple[str, str]:
    """Report that the workers wait for the broker. Return the step that brings it back by ``recovery``."""
    if recovery == "resume":
        output.line(_("The broker is frozen, and the workers wait for it."))
        return "resume broker", _("let it continue")
    if recovery == "up":
        output.line(_("The broker was never started, and the workers wait for it."))
        return "up", _("make it anew")
    output.line(_("The broker is down, and the workers wait for it."))
    return "start broker", _("start the broker")
