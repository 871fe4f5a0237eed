"""``faults``: injects faults into a private cluster and measures what labkit promises."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.cluster import json_option
from labkit.cli.parser import Parser
from labkit.support.i18n import _
from labkit.support.setting_values import words
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.faults.case import Case
    from labkit.faults.verdict import Result


NOTHING_SHOWN = 3
"""The exit code when every case was inconclusive."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--only", nargs="+", metavar=_("NAME"), default=[], help=_("these faults only"))
    parser.add_argument("--list", action="store_true", help=_("only list the faults"))
    json_option(parser)
    parser.examples("faults", "faults --only kill-storm broker-killed", "faults --list")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run the chosen cases; return 0 if at least one passed and none failed, 3 if all were inconclusive."""
    from labkit.faults import suite, table
    from labkit.faults.verdict import Verdict, verdict_of_all

    cases = suite.chosen([name for given in options.only for name in words(given)])  # with commas, too
    if options.list:
        if options.json:
            output.as_json({case.name: {"fault": case.fault, "promise": case.promise} for case in cases})
            return 0
        width = max(len(case.name) for case in cases)
        for case in cases:
            output.line(f"{case.name:<{width}}  {_(case.fault)}")
        return 0
    results = _all(cases, settings)
    if options.json:
        output.as_json(table.as_json(cases, results))
    else:
        table.print_table(cases, results)
    return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: NOTHING_SHOWN}[verdict_of_all(results)]


def _all(cases: list[Case], settings: Settings) -> list[Result]:
    """Run the cases; on a terminal, print a line for each to stderr."""
    from labkit.faults import suite, table

    if not sys.stderr.isatty():
        return [suite.carry_out(case, settings) for case in cases]
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    results: list[Result] = []
    for number, case in enumerate(cases, 1):
        doing = Text(f"{number}/{len(cases)} {case.name}: {_(case.fault)}", overflow="ellipsis", no_wrap=True)
        with console.status(doing):
            results.append(suite.carry_out(case, settings))
        verdict = results[-1].verdict
        console.print(Text(table.line(results[-1]), "" if verdict.value == "pass" else table.STYLES[verdict]))
    return results
