"""``python -m labkit bench``: speed and memory of the lab on this machine, as ratios with their spread.

Nine measurements, one module each. ``figures`` defines what a verdict means, ``setup`` how everything is
measured. No figure is compared with one from another day or another machine: labkit, Python's own process
pool, the sequential loop and a bare pyzmq chain take turns in one run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from benchmarks.figures import INCONCLUSIVE, MISS, PASS, BenchFailed, Figure, Section, Spread, Target
from labkit.core.errors import N_, InvalidInput
from labkit.support.i18n import _, translate_argparse

__all__ = ["INCONCLUSIVE", "MISS", "PASS", "BenchFailed", "Figure", "Section", "Spread", "Target", "main"]

MEASUREMENTS = {
    "tiny": "benchmarks.tiny",
    "round-trip": "benchmarks.round_trip",
    "overhead": "benchmarks.overhead",
    "photos": "benchmarks.pictures",
    "start": "benchmarks.start",
    "kill": "benchmarks.kill",
    "memory": "benchmarks.memory",
    "gateway": "benchmarks.gateway",
    "scheduler": "benchmarks.scheduler_cost",
}
"""Module of each measurement, by its name in ``--only``, in the order of measurement."""

ROUNDS, QUICK_ROUNDS, MOST_ROUNDS = 5, 2, 1000
COMMAND = "python -m labkit bench"


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0; with ``--strict`` 1 if a target was missed. ``argv``: what follows bench.

    Raises InvalidInput for invalid options, BenchFailed when a measurement fails, and the errors of opening a
    cluster.
    """
    translate_argparse()
    try:
        options = _parser().parse_args(argv)
    except SystemExit:  # argparse leaves this way after --help
        return 0
    from benchmarks.setup import Setup, usual_workers
    from benchmarks.table import as_json, columns, heading, rows

    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    setup = Setup(rounds, usual_workers(), options.quick)
    sections: dict[str, Section] = {}
    if not options.json:
        print(*heading(setup), "", columns(), sep="\n")
    for name in [name for name in MEASUREMENTS if name in (options.only or MEASUREMENTS)]:
        module: ModuleType = import_module(MEASUREMENTS[name])
        if not options.json:
            print(f"\n{name}: {_(module.TITLE)}", flush=True)
        sections[name] = module.measure(setup)
        if not options.json:
            print(*rows(sections[name]), sep="\n", flush=True)
    if options.json:
        print(json.dumps(as_json(setup, sections), indent=2))
    missed = any(figure.verdict == MISS for section in sections.values() for figure in section.figures)
    return 1 if missed and options.strict else 0


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises its errors: the command line shows them as it shows all others."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(
            N_("{message}; {command} --help shows what is possible"), message=message, command=self.prog
        )


def _parser() -> _Parser:
    parser = _Parser(
        prog=COMMAND,
        allow_abbrev=False,
        description=_(
            "Measure speed and memory on this machine, as ratios with their spread. "
            "It takes about three minutes, and wants the machine for itself."
        ),
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(MEASUREMENTS), metavar="NAME",
        help=_("only these measurements: {names}").format(names=", ".join(MEASUREMENTS)),
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help=_("small sizes and few rounds: about 40 s"))
    parser.add_argument(
        "--rounds", type=_rounds, metavar="N",
        help=_("how many rounds ({usual}, with --quick {quick})").format(usual=ROUNDS, quick=QUICK_ROUNDS),
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help=_("print one JSON document instead of a table"))
    parser.add_argument("--strict", action="store_true", help=_("exit code 1 if a target was missed"))
    return parser


def _rounds(text: str) -> int:
    rounds = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= rounds <= MOST_ROUNDS:
        raise argparse.ArgumentTypeError(
            _("{text!r} is not a whole number from 1 to {most}").format(text=text, most=MOST_ROUNDS)
        )
    return rounds
