"""``autoscale``: adapts the number of workers to the work until Ctrl-C, with a line for every step."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.cluster import connected, json_option, name_option
from labkit.cli.parser import Parser
from labkit.core.autoscaler import Limits
from labkit.support.i18n import _, ngettext
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster.autoscaling import Autoscaling
    from labkit.core.autoscaler import Decision

WAKE_EVERY_S = 0.5
"""How often the main thread checks for Ctrl-C on systems where it does not interrupt a wait (Windows)."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    for option, field, kind, metavar, help_text in (
        ("--min", "least", int, "N", _("smallest number of workers (default: {usual})")),
        ("--max", "most", int, "N", _("largest number of workers (default: {usual})")),
        (
            "--target",
            "target_s",
            float,
            "S",
            _("target: finish all open tasks within this many seconds (default: {usual:g})"),
        ),
        (
            "--calm",
            "calm_s",
            float,
            "S",
            _("remove workers only after this many seconds of low load (default: {usual:g})"),
        ),
    ):
        usual = getattr(Limits, field)
        parser.add_argument(
            option, dest=field, type=kind, default=usual, metavar=metavar, help=help_text.format(usual=usual)
        )
    json_option(parser)
    name_option(parser)
    parser.examples("autoscale --min 1 --max 6", "autoscale --max 6 --target 2 --calm 10")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Scale until Ctrl-C. If the autoscaler ends by itself, as when the cluster is down, raise its error."""
    limits = Limits(options.least, options.most, options.target_s, options.calm_s)
    show = _show_as_json if options.json else _show
    with connected(options, settings) as cluster, cluster.autoscale(limits, on_decision=show) as autoscaling:
        if not options.json:
            _show_start(limits)
        try:
            _wait(autoscaling)
        except KeyboardInterrupt:
            if not options.json:
                output.line()
                output.line(_("The autoscaler has ended. The cluster keeps its present size."))
            raise
    assert autoscaling.error is not None
    raise autoscaling.error


def _wait(autoscaling: Autoscaling) -> None:
    while autoscaling.is_running:
        autoscaling.join(WAKE_EVERY_S)


def _show_start(limits: Limits) -> None:
    text = _(
        "Keeps {least} to {most} workers, so that all open tasks finish within {target:g} s; "
        "removes some after {calm:g} s of low load. Ctrl-C ends it."
    )
    output.line(text.format(least=limits.least, most=limits.most, target=limits.target_s, calm=limits.calm_s))
    sys.stdout.flush()


def _show(decision: Decision) -> None:
    text = ngettext(
        "{at}  {before} → {size} workers: {n} task is open",
        "{at}  {before} → {size} workers: {n} tasks are open",
        decision.open_tasks,
    )
    line = text.format(
        at=time.strftime("%H:%M:%S"), before=decision.before, size=decision.size, n=decision.open_tasks
    )
    if decision.work_s:
        line += _(", {seconds:.1f} s of work for one").format(seconds=decision.work_s)
    output.line(line)
    sys.stdout.flush()


def _show_as_json(decision: Decision) -> None:
    print(json.dumps(decision._asdict()), flush=True)
