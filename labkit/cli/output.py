"""Output of the command line: answers on stdout, errors and progress on stderr, JSON on request.

Callers pass sentences that are already translated. They write commands as ``python -m labkit up``; this
module prints them the way *this* user starts labkit, so that the next step can be copied and pasted. Where
the command that runs is about a cluster that has to be named (``mean``), each command that it prints names
that cluster.
Control characters, which may come from a peer or in a file's name, are shown and not obeyed.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from labkit.core.names import without_controls
from labkit.support.i18n import _

CALL = "python -m labkit"
ROOT = Path(__file__).parents[2]

_folder: Path | None = None
_meant: dict[str, str] = {}

ABOUT_A_CLUSTER = ("up", "status", "scale", "api", "autoscale", "logs", "redis", "down", "submit", "stress",
                   "kill", "pause", "resume", "stop", "start")  # fmt: skip
"""The commands that take ``--name`` and ``--backend``."""
_TARGET = r"(?: (?:(?:[\w.-]*worker-[\w-]+|broker|redis|api)\b|\d+\b))?"
_COMMAND = re.compile(
    rf"{re.escape(CALL)} (?:{'|'.join(ABOUT_A_CLUSTER)})\b{_TARGET}(?P<given>(?: --\w+ [\w.-]+)*)"
)
"""One of these commands in a sentence, with the process or number that it is about, and its options."""


def typed_in(folder: Path | None) -> None:
    """Show commands from now on as typed in ``folder``; None means the working folder of this process.

    A notebook runs in a folder of its own, but its reader types in the lab's folder.
    """
    global _folder
    _folder = folder
    call.cache_clear()


def mean(name: str = "", backend: str = "") -> None:
    """Have each command that is printed from now on name this cluster; without arguments, none."""
    _meant.clear()
    _meant.update({f"--{key}": value for key, value in (("name", name), ("backend", backend)) if value})


def with_cluster(command: str) -> str:
    """Return ``command``, as typed behind ``python -m labkit``, with the options of the cluster meant."""
    words = command.split()
    if not words or words[0] not in ABOUT_A_CLUSTER:
        return command
    missing = [f"{option} {value}" for option, value in _meant.items() if option not in words]
    return " ".join([command, *missing])


@functools.cache
def call() -> str:
    """Return what the user types to run labkit here: ``python -m labkit``, or lab.py with its path.

    lab.py runs labkit in the environment ``.venv``, which the user's own ``python`` knows only once it is
    activated.
    """
    own = ROOT / ".venv"
    if Path(sys.prefix) != own or os.environ.get("VIRTUAL_ENV") == str(own):
        return CALL
    try:
        script = os.path.relpath(ROOT / "lab.py", _folder)
    except (OSError, ValueError):  # no working folder, or on Windows another drive
        script = str(ROOT / "lab.py")
    script = f'"{script}"' if " " in script else script
    return f"{'py' if os.name == 'nt' else 'python3'} {script}"


def as_called(text: str) -> str:
    """Return ``text`` with each ``python -m labkit`` as this user would type it, for the cluster meant."""
    named = _COMMAND.sub(lambda found: f"{CALL} {with_cluster(found[0].removeprefix(f'{CALL} '))}", text)
    return named.replace(CALL, call())


def line(text: str = "") -> None:
    """Print one answer."""
    print(without_controls(as_called(text)))


def complain(text: str) -> None:
    """Print one line to stderr: an error, a warning, or advice."""
    print(without_controls(as_called(text)), file=sys.stderr, flush=True)


def as_json(value: Any, indent: int | None = 2) -> None:
    """Print ``value`` as the one JSON document of a command with ``--json``."""
    import json

    print(json.dumps(value, indent=indent))


def next_steps(*steps: tuple[str, str]) -> None:
    """Print the commands that make sense next, each given as (command, what it does)."""
    named = [(f"{call()} {with_cluster(command)}", meaning) for command, meaning in steps]
    width = max(len(command) for command, _meaning in named)
    longest = width + 5 + max(len(as_called(meaning)) for _command, meaning in named)
    columns = shutil.get_terminal_size().columns
    is_narrow = sys.stdout.isatty() and longest > columns
    print()
    for command, meaning in named:
        if is_narrow:  # a line would break anywhere; a command alone can still be copied
            indent = " " * 6
            print(f"  {command}")
            print(textwrap.fill(as_called(meaning), columns, initial_indent=indent, subsequent_indent=indent))
        else:
            print(f"  {command:<{width}}   {as_called(meaning)}")


def seconds(value: float) -> str:
    """Return a duration (seconds) as text for people: "0.4 s", "12 s", "3 min", "2 h"."""
    if value < 9.95:
        return _("{number:.1f} s").format(number=value)
    if value < 99.5:
        return _("{number:.0f} s").format(number=value)
    if value < 3600:
        return _("{number:.0f} min").format(number=value / 60)
    return _("{number:.0f} h").format(number=value / 3600)
