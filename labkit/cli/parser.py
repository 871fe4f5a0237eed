"""The options of a command line: argparse, with errors that are one line, and help with an example.

Only the chosen command's module is asked for its options, so no command pays for another one's imports.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from labkit.cli.commands import COMMANDS, GROUPS, TAKES_WORDS, UsageError, load
from labkit.cli.output import CALL, as_called, call
from labkit.core.errors import N_
from labkit.support import i18n
from labkit.support.i18n import _
from labkit.support.text import parse_float, parse_int

# Not `from labkit import __version__`: the package is a room above the command line.
VERSION = "0.1.0"


MAX_PORT = 65535


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints its examples unwrapped and raises UsageError instead of exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.register("type", int, parse_int)  # as everywhere in labkit: 1_0 is not a number
        self.register("type", float, parse_float)
        self._needed: list[argparse.Action] = []

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing and exiting."""
        raise UsageError(
            N_("{message}; {command} --help shows what is possible"), message=message, command=self.prog
        )

    def add_needed(self, flag: str, **options: Any) -> None:
        """Declare an option that must be given. Its command asks ``refuse_missing``, after other mistakes.

        argparse looks for missing options first, and does not tell what else is wrong.
        """
        self._needed.append(self.add_argument(flag, **options))

    def refuse_missing(self, options: argparse.Namespace) -> None:
        """Raise UsageError if an option that must be given is missing."""
        missing = [each for each in self._needed if getattr(options, each.dest) is None]
        if missing:
            names = ", ".join("/".join(each.option_strings) for each in missing)
            self.error(_("the following arguments are required: %s") % names)

    def format_usage(self) -> str:
        with self._shown_as_required():
            return super().format_usage()

    def format_help(self) -> str:
        with self._shown_as_required():
            return super().format_help()

    @contextmanager
    def _shown_as_required(self) -> Iterator[None]:
        """Have the usage line show needed options without the brackets of optional ones."""
        for each in self._needed:
            each.required = True
        try:
            yield
        finally:
            for each in self._needed:
                each.required = False

    def examples(self, *lines: str) -> None:
        """Show these commands below the options; each begins after ``python -m labkit``."""
        commands = "".join(f"  {call()} {line}\n" for line in lines)
        self.epilog = _("examples:") + "\n" + commands


def port_number(option: str, text: str) -> int:
    """Return the port that ``text``, the value of ``--option``, names. Raises UsageError."""
    try:
        port = parse_int(text)
    except ValueError:
        port = 0
    if not 1 <= port <= MAX_PORT:
        raise UsageError(
            N_("--{option} {value}: a number from 1 to {most} is expected"),
            option=option,
            value=text,
            most=MAX_PORT,
        )
    return port


def parse(words: list[str]) -> argparse.Namespace | None:
    """Return the parsed options, with the function to run in ``run``; None if only help was asked for."""
    i18n.translate_argparse()
    try:
        if not words or words[0].startswith("-"):
            _overview(words)
            return None
        parser = command_parser(words[0])
        options, left = parser.parse_known_args(words[1:])
        # argparse lets words stand before the options or behind them. `submit` takes files in both places.
        if left and ("sources" not in options or any(word.startswith("-") for word in left)):
            parser.error(_("unrecognized arguments: %s") % " ".join(left))
        if left:
            options.sources += left
        return options
    except SystemExit:  # argparse exits after --help and --version
        return None


def command_parser(name: str) -> Parser:
    """Return the parser of the command called ``name``."""
    parser = Parser(prog=f"{call()} {name}", description=_sentence(COMMANDS[name][1]))
    module = load(name)
    module.configure(name, parser)
    if name not in TAKES_WORDS:
        parser.set_defaults(run=module.run, command=name)
    return parser


def _overview(words: list[str]) -> None:
    parser = Parser(
        prog=call(),
        usage=_("{labkit} COMMAND ...").format(labkit=call()),
        description=_("A small distributed system on your own machine: run it, break it, measure it."),
        epilog=_commands() + "\n" + _first_steps(),
    )
    version = f"labkit {VERSION}, Python {platform.python_version()}"
    parser.add_argument(
        "--version", action="version", version=version, help=_("show program's version number and exit")
    )
    parser.parse_args(words)
    parser.print_help()


def _commands() -> str:
    lines = []
    for title, commands in GROUPS.items():
        lines.append(f"{_(title)}:")
        lines.extend(f"  {name:<10} {_(help_)}" for name, (_module, help_) in commands.items())
        lines.append("")
    return "\n".join(lines)


def _first_steps() -> str:
    return as_called(
        _(
            "'{labkit} COMMAND --help' explains a command. "
            "First steps: {labkit} demo, {labkit} up, {labkit} doctor."
        ).format(labkit=CALL)
    )


def _sentence(text: str) -> str:
    text = _(text)
    return text[0].upper() + text[1:] + "."
