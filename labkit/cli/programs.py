"""``demo`` and ``bench``: programs with options of their own, started from here."""

from __future__ import annotations

import argparse
from importlib import import_module

from labkit.cli.parser import Parser
from labkit.core.errors import N_, LabkitError
from labkit.support.settings import Settings


class BenchMissing(LabkitError):
    """The folder benchmarks/ is not beside labkit."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the demo's options; the benchmark knows its own."""
    from labkit.demo import add_arguments

    add_arguments(parser)
    parser.examples("demo", "demo --photos ~/Pictures --out my-demo")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run the demo; return the exit code: 0 only if every target was met."""
    from labkit.demo import main

    return main(options, settings)


def run_words(words: list[str], _settings: Settings) -> int:
    """Run the benchmark with the words behind ``bench``; return the exit code."""
    try:
        # By name: labkit is used without its benchmarks too, as in a container.
        benchmarks = import_module("benchmarks")
    except ModuleNotFoundError as error:
        if error.name != "benchmarks":
            raise
        raise BenchMissing(
            N_("the folder benchmarks/ is not here; run this in the lab's own folder")
        ) from error
    code: int = benchmarks.main(words)
    return code
