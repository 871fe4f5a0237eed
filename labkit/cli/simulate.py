"""``simulate``: one seeded run of the whole system on a virtual clock, shown as a timeline."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cli import output, simulate_policy
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
USUAL_WORKERS, USUAL_TASKS = 5, 200


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
        "--workers",
        type=int,
        metavar="N",
        help=_("how many workers (default: 5; with --replay, the recorded ones)"),
    )
    parser.add_argument("--tasks", type=int, metavar="N", help=_("how many tasks (default: 200)"))
    parser.add_argument(
        "--faults",
        nargs="+",
        metavar="A,B",
        help=_("none, or some of: {faults} (default: {usual})").format(
            faults=", ".join(FAULTS), usual=",".join(DEFAULT_FAULTS)
        ),
    )
    parser.add_argument(
        "--policy",
        metavar=_("POLICY"),
        help=_(
            "policy that chooses the worker for the next task: {policies}; or your own, as module:function "
            "or FILE.py (default: least_busy; with --replay, the recorded one)"
        ).format(policies=", ".join(POLICIES)),
    )
    parser.add_argument(
        "--thorough", action="store_true", help=_("compare all tables after every single event (slow)")
    )
    parser.add_argument(
        "--wire", action="store_true", help=_("encode every message to bytes and back (slow)")
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="EVENTS.jsonl",
        help=_("replay a recorded run: its arrivals, durations and faults"),
    )
    parser.add_argument(
        "--without-faults",
        action="store_true",
        help=_("with --replay: leave out what was done to the workers"),
    )
    parser.add_argument(
        "--chart",
        type=Path,
        metavar=_("FILE.png"),
        help=_("with --replay: draw the recording and the replay side by side"),
    )
    json_option(parser)
    parser.examples(
        "simulate --seed 7",
        "simulate --seed 7 --workers 5 --tasks 200 --faults kill,pause,partition",
        "simulate --replay events.jsonl --policy work.mine:choose --chart replay.png",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Simulate and show the run; return 0 if every invariant held."""
    _require_that_they_fit(options)
    if options.replay is not None:
        from labkit.cli import simulate_replay

        return simulate_replay.run(options, settings)
    options.workers = USUAL_WORKERS if options.workers is None else options.workers
    options.tasks = USUAL_TASKS if options.tasks is None else options.tasks
    options.faults = list(DEFAULT_FAULTS) if options.faults is None else options.faults
    options.policy = "least_busy" if options.policy is None else options.policy
    faults = [name for given in options.faults for name in words(given) if name != "none"]  # or with spaces
    policy = simulate_policy.load(options.policy, settings.work)
    began = time.monotonic()
    result = simulate(
        options.seed,
        options.workers,
        options.tasks,
        faults,
        policy,
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


def _require_that_they_fit(options: argparse.Namespace) -> None:
    """Raise UsageError for a number out of range, and for options that do not belong together."""
    for option, value, most in (
        ("workers", options.workers, MOST_WORKERS),
        ("tasks", options.tasks, MOST_TASKS),
    ):
        if value is not None and not 1 <= value <= most:
            raise UsageError(
                N_("--{option} {value}: a number from 1 to {most} is expected"),
                option=option,
                value=value,
                most=most,
            )
    if options.replay is None:
        only = {"--without-faults": options.without_faults, "--chart": options.chart}
        if given := next((option for option, value in only.items() if value), None):
            raise UsageError(N_("{option} belongs to --replay EVENTS.jsonl"), option=given)
    else:
        drawn = {"--tasks": options.tasks, "--faults": options.faults, "--thorough": options.thorough,
                 "--wire": options.wire}  # fmt: skip
        if given := next((option for option, value in drawn.items() if value), None):
            raise UsageError(N_("{option} does not go with --replay: the recording has it"), option=given)


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
