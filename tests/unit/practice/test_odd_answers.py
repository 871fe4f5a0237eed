"""Each exercise's functions answer with something else than they should: a finding, no traceback.

Two kinds of answer for each exercise, others for the next one. With PRACTICE_THOROUGH=1 all of them.
"""

from __future__ import annotations

import ast
import os

import pytest

from labkit.practice.exercise import Exercise, catalogue
from labkit.practice.screen import verdict_lines
from labkit.practice.verdict import Kind
from labkit.practice.verify import run
from labkit.practice.workspace import solution_of

ODD = (
    "__import__('numpy').zeros((2, 2))", "None", "'x'", "[None]", "[]", "float('nan')", "{}", "10**400",
    "(__import__('numpy').zeros(3),) * 2", "b'z'", "True", "float('inf')", "-1", "[[1], [2, 3], 'q', None]",
)  # fmt: skip
"""The values that the functions return, as code. An array comes first: it has no truth value."""


def answering(code: str, value: str) -> str:
    """Return ``code`` with functions that only return ``value``."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.parse(f"return {value}", mode="exec").body[0]]
    return ast.unparse(tree)


def chosen(exercise: Exercise) -> tuple[str, ...]:
    if os.environ.get("PRACTICE_THOROUGH"):
        return ODD
    return ODD[0], ODD[1 + exercise.number % (len(ODD) - 1)]


@pytest.mark.parametrize("exercise", catalogue(), ids=lambda exercise: exercise.id)
def test_an_odd_answer_is_a_finding(exercise: Exercise) -> None:
    for value in chosen(exercise):
        verdict = run(exercise, answering(solution_of(exercise), value))
        assert verdict.kind is Kind.FAIL and verdict.code, (value, verdict)
        assert verdict_lines(exercise, verdict)
