#!/usr/bin/env python3
"""Prints the lines of requirements.txt that an image needs, on the standard output.

    python pick_requirements.py requirements.txt pyzmq redis

The versions stand in one list only, requirements.txt; an image's Dockerfile names packages. A name that the
list does not have is an error, so a package that is renamed there cannot vanish from an image in silence.
Runs before anything is installed: standard library only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence


def pick(lines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the requirements whose names are ``wanted``, as they stand in ``lines``. KeyError: not there."""
    known = {}
    for line in lines:
        requirement = line.partition("#")[0].strip()
        if requirement:
            known[normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])] = requirement
    return [known[normal(name)] for name in wanted]


def normal(name: str) -> str:
    """Return a package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> int:
    """Print what was asked for; exit code 1 if the list lacks something."""
    with open(arguments[0], encoding="utf-8") as file:
        lines = file.read().splitlines()
    try:
        print("\n".join(pick(lines, arguments[1:])))
    except KeyError as missing:
        print(f"{arguments[0]} has no package {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
