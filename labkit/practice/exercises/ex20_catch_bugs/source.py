"""{title}"""

from __future__ import annotations

from collections.abc import Callable

CI_JOB = """
# SOLUTION
name: checks
on: [push]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: python3 lab.py practice check catch-bugs
# STUB
# END
"""


def is_right(requeue: Callable[[list[str], list[str]], list[str]]) -> bool:
    # SOLUTION
    for held, waiting in ([], []), (["a"], []), ([], ["x", "y"]), (["b", "a", "c"], ["y", "x"]):
        copies = list(held), list(waiting)
        if requeue(*copies) != held + waiting or copies != (held, waiting):
            return False
    return True
    # STUB
    # return requeue(["a"], ["x"]) is not None
    # END
