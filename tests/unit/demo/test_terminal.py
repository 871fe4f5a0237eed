"""The demo's display in a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.demo.terminal import TerminalView

CODES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


@pytest.mark.parametrize("length", [10, 58, 66, 70, 200])
def test_a_warning_keeps_a_files_path_in_one_piece(
    length: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal wraps a long line itself, so that the path can be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = Path("/tmp") / ("x" * length) / "photos" / "broken.jpg"
    view = TerminalView()
    with view:
        view.title("labkit demo")
        view.warn(f"left out: {path} is truncated")
    assert f"left out: {path} is truncated\n" in CODES.sub("", capsys.readouterr().out)
