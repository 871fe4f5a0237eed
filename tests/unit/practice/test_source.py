"""Stub and solution come from one source."""

from __future__ import annotations

import pytest

from labkit.core.errors import InvariantBroken
from labkit.practice import source

MARKED = '''"""{title}"""
# SOLUTION
import math

# STUB
# END


def area(r):
    # SOLUTION
    return math.pi * r * r
    # STUB
    # # how?
    #     raise NotImplementedError
    # END


def after():
    return 1
'''


def test_the_solution_has_its_parts_and_no_marks() -> None:
    assert source.solution(MARKED, "Circles") == (
        '"""Circles"""\nimport math\n\n\n\ndef area(r):\n    return math.pi * r * r\n'
        "\n\ndef after():\n    return 1\n"
    ).replace("math\n\n\n\n", "math\n\n\n")


def test_the_stub_has_the_commented_lines_with_their_indentation() -> None:
    assert source.stub(MARKED, "Círculos") == (
        '"""Círculos"""\n\n\ndef area(r):\n    # how?\n        raise NotImplementedError\n'
        "\n\ndef after():\n    return 1\n"
    )


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("# STUB\n# END\n", "line 1"),
        ("# SOLUTION\n# SOLUTION\n", "line 2"),
        ("# SOLUTION\n# END\n", "line 2"),
        ("# SOLUTION\nx\n# STUB\n# y\n", "# END"),
        ("# SOLUTION\nx\n# STUB\ny\n# END\n", "line 4"),
    ],
)
def test_marks_out_of_order_are_an_error_that_names_the_line(marked: str, words: str) -> None:
    with pytest.raises(InvariantBroken, match=words):
        source.stub(marked, "")
