"""Stub and solution of an exercise, made from one marked source.

``source.py`` is the solution and runs as it is. Marks, each on a line of its own, name the stub's part::

    def read_all(read, names):
        # SOLUTION
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(read, names))
        # STUB
        # return [read(name) for name in names]
        # END

The lines between STUB and END are the stub's, each behind ``# ``; there may be none. ``{title}`` stands for
the exercise's title in the reader's language.
"""

from __future__ import annotations

import re

from labkit.core.errors import N_, InvariantBroken

SOLUTION, STUB, END = "# SOLUTION", "# STUB", "# END"


def solution(source: str, title: str) -> str:
    """Return the solution that a learner may read."""
    return _assembled(source, title, want_solution=True)


def stub(source: str, title: str) -> str:
    """Return what a learner starts with."""
    return _assembled(source, title, want_solution=False)


def _assembled(source: str, title: str, want_solution: bool) -> str:
    """Return the source with one side of each marked block. Raises InvariantBroken for marks out of order."""
    lines: list[str] = []
    inside = ""
    for number, line in enumerate(source.replace("{title}", title).splitlines(), 1):
        mark = line.strip()
        if mark in (SOLUTION, STUB, END):
            if {SOLUTION: "", STUB: SOLUTION, END: STUB}[mark] != inside:
                raise InvariantBroken(N_("line {number}: {mark} is out of order"), number=number, mark=mark)
            inside = "" if mark == END else mark
        elif not inside or (inside == SOLUTION and want_solution):
            lines.append(line)
        elif inside == STUB and not want_solution:
            lines.append(_uncommented(line, number))
    if inside:
        raise InvariantBroken(N_("the last block has no {mark}"), mark=END)
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)) + "\n"  # a block that is empty leaves blank lines


def _uncommented(line: str, number: int) -> str:
    code = line.lstrip()
    if not code.startswith("#"):
        raise InvariantBroken(N_("line {number}: a line of the stub begins with '# '"), number=number)
    return (line[: len(line) - len(code)] + code.removeprefix("#").removeprefix(" ")).rstrip()
