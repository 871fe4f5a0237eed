#!/usr/bin/env python3
"""Shortens requirements.txt and constraints.txt to what one image needs.

    python pick_requirements.py FROM_FOLDER TO_FOLDER pyzmq redis

The new requirements.txt holds the named packages; the new constraints.txt holds the pins of all that they
pull in. Versions stand in the project's two lists only, and a Dockerfile names packages. A name that
requirements.txt lacks is an error, so a package that is renamed there cannot vanish from an image in silence.
A change of any other package changes neither output: Docker then keeps the layer that installs them.

Runs before anything is installed: standard library only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path


def pick(lines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the requirements named ``wanted``, as they stand in ``lines``. Raises KeyError."""
    known = {name_of(requirement): requirement for requirement in map(without_comment, lines) if requirement}
    return [known[normal(name)] for name in wanted]


def pulled_in(lines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the pins of all that the packages ``wanted`` pull in, as they stand in constraints.txt.

    Its comments name, below each pin, the packages that need it: ``# via``.
    """
    pin, needed_by = "", {}  # type: str, dict[str, set[str]]
    for line in lines:
        if without_comment(line):
            pin = without_comment(line)
            needed_by[pin] = set()
        elif pin and "-r " not in line:
            parent = line.strip(" #").removeprefix("via").strip()
            needed_by[pin] |= {normal(parent)} - {""}
    picked = {normal(name) for name in wanted}
    while more := {name_of(pin) for pin, parents in needed_by.items() if parents & picked} - picked:
        picked |= more
    return [pin for pin in needed_by if name_of(pin) in picked - {normal(name) for name in wanted}]


def without_comment(line: str) -> str:
    """Return what a line of either list requires, or an empty string."""
    return line.partition("#")[0].strip()


def name_of(requirement: str) -> str:
    """Return the package that a requirement is about."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def normal(name: str) -> str:
    """Return a package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> int:
    """Write both lists; exit code 1 if requirements.txt lacks one of the names."""
    source, target, wanted = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    try:
        picked = pick(read(source / "requirements.txt"), wanted)
    except KeyError as missing:
        print(f"{source / 'requirements.txt'} has no package {missing}", file=sys.stderr)
        return 1
    target.mkdir(exist_ok=True)
    write(target / "requirements.txt", picked)
    write(target / "constraints.txt", pulled_in(read(source / "constraints.txt"), wanted))
    return 0


def read(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def write(path: Path, lines: Sequence[str]) -> None:
    """Write lines to a file."""
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
