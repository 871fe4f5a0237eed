"""Colours without a drawing library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from labkit.support.palette import FAULT, WORKER_COLOURS, mixed
from tests.tools.command_line import ROOT


@pytest.mark.parametrize(
    ("towards", "strength", "expected"),
    [(0.0, 0.0, "#0072b2"), (0.0, 1.0, "#000000"), (1.0, 1.0, "#ffffff"), (0.0, 0.5, "#003959")],
)
def test_a_colour_is_mixed_towards_black_or_white(towards: float, strength: float, expected: str) -> None:
    assert mixed("#0072B2", towards, strength) == expected


def test_no_worker_has_the_colour_of_faults() -> None:
    assert FAULT not in WORKER_COLOURS


def test_panel_demo_and_status_show_colours_without_matplotlib() -> None:
    modules = "labkit.panel.panel, labkit.demo.show, labkit.cli.status"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "False\n", ran.stderr
