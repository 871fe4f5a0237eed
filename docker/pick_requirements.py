#!/usr/bin/env python3
"""Shortens requirements.txt and constraints.txt to the packages of one image.

    python pick_requirements.py FROM_FOLDER TO_FOLDER pyzmq redis

The new requirements.txt holds the named packages; the new constraints.txt holds the pins of their
dependencies. Versions are written only in the project's two lists; a Dockerfile names packages. A name that
requirements.txt lacks is an error, so a package renamed there cannot silently vanish from an image. A change
of any other package changes neither output, so Docker keeps the layer that installs them.

It runs before any package is installed, so it uses the standard library only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path


def pick(lines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the requirements ``wanted`` from ``lines``, without comments. Raises KeyError without one."""
    known = {name_of(requirement): requirement for requirement in map(without_comment, lines) if requirement}
    return [known[normal(name)] for name in wanted]


def pulled_in(lines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the pins of the dependencies of the packages ``wanted``, from the lines of constraints.txt.

    In that file, comments below each pin name the packages that need it: ``# via``.
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
    """Return the requirement in a line of either list, or ""."""
    return line.partition("#")[0].strip()


def name_of(requirement: str) -> str:
    """Return the package of a requirement."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def normal(name: str) -> str:
    """Return a package's name in the form in which PyPI compares names."""
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
