"""``simulate``: one seeded run of the whole system on a virtual clock, shown as a timeline."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.calls import policy_loader
from labkit.cli import output
from labkit.cli.cluster import json_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.core.broker.policies import POLICIES
from labkit.core.errors import N_
from labkit.core.history import encode_event
from labkit.simulation import DEFAULT_FAULTS, FAULTS, simulate
from labkit.support.i18n import _
from labkit.support.setting_values import words
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.simulation import Run

MOST_WORKERS, MOST_TASKS = 1_000, 100_000


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help=_("number of the run; the same seed gives the same run (default: 1)"),
    )
    parser.add_argument(
        "--workers", type=int, default=5, metavar="N", help=_("how many workers (default: 5)")
    )
    parser.add_argument(
        "--tasks", type=int, default=200, metavar="N", help=_("how many tasks (default: 200)")
    )
    parser.add_argument(
        "--faults",
        nargs="+",
        default=list(DEFAULT_FAULTS),
        metavar="A,B",
        help=_("none, or some of: {faults} (default: {usual})").format(
            faults=", ".join(FAULTS), usual=",".join(DEFAULT_FAULTS)
        ),
    )
    parser.add_argument(
        "--policy",
        default="least_busy",
        metavar=_("POLICY"),
        help=_(
            "policy that chooses the worker for the next task: {policies}; or your own, as module:function"
        ).format(policies=", ".join(POLICIES)),
    )
    parser.add_argument(
        "--thorough", action="store_true", help=_("compare all tables after every single event (slow)")
    )
    parser.add_argument(
        "--wire", action="store_true", help=_("encode every message to bytes and back (slow)")
    )
    json_option(parser)
    parser.examples(
        "simulate --seed 7", "simulate --seed 7 --workers 5 --tasks 200 --faults kill,pause,partition"
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Simulate and show the run; return 0 if every invariant held."""
    faults = [name for given in options.faults for name in words(given) if name != "none"]  # or with spaces
    for option, value, most in (
        ("workers", options.workers, MOST_WORKERS),
        ("tasks", options.tasks, MOST_TASKS),
    ):
        if not 1 <= value <= most:
            raise UsageError(
                N_("--{option} {value}: a number from 1 to {most} is expected"),
                option=option,
                value=value,
                most=most,
            )
    policy = policy_loader.load(options.policy, settings.work)
    began = time.monotonic()
    result = simulate(
        options.seed,
        options.workers,
        options.tasks,
        faults,
        options.policy if options.policy in POLICIES else policy,
        thorough=options.thorough,
        wire=options.wire,
    )
    result = replace(result, policy=options.policy)  # the name that repeats this run
    seconds = time.monotonic() - began
    if options.json:
        output.as_json(_as_json(result, seconds), indent=None)
    else:
        _show(result, seconds)
    return 0 if result.ok else 1


def _show(result: Run, seconds: float) -> None:
    from labkit.simulation.timeline import timeline

    for line in timeline(result, shutil.get_terminal_size((100, 24)).columns, _):
        output.line(line)
    output.line()
    text = _("{virtual:.0f} s of simulated time in {real:.2f} s; to repeat this run: {command}")
    output.line(text.format(virtual=result.ended_at, real=seconds, command=result.command))
    if not result.ok:
        sys.stdout.flush()
        output.complain(
            _("A promise was broken. This is a bug in labkit, or in the policy; please report it:")
        )
        output.complain(result.report())


def _as_json(result: Run, seconds: float) -> dict[str, Any]:
    import json

    return {
        "seed": result.seed,
        "workers": result.workers,
        "tasks": result.tasks,
        "faults": list(result.faults),
        "policy": result.policy,
        "ok": result.ok,
        "violations": [
            {"at": violation.at, "invariant": violation.invariant, "why": violation.why}
            for violation in result.violations
        ],
        "healed_at": result.healed_at,
        "ended_at": result.ended_at,
        "steps": result.steps,
        "counters": dict(result.counters),
        "command": result.command,
        "real_seconds": round(seconds, 3),
        "events": [json.loads(encode_event(event)) for event in result.history],
    }
