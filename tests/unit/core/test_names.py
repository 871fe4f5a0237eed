"""Which names are accepted, and how any other text is shown."""

from __future__ import annotations

import pytest

from labkit.core.names import is_label, is_name, without_controls


@pytest.mark.parametrize("name", ["worker-1", "a", "lab.local_2", "x" * 64, "9"])
def test_a_name_is_short_and_plain(name: str) -> None:
    assert is_name(name) and is_label(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "-a", ".a", "ñ", "a/b", "\x1b"])
def test_everything_else_is_no_name(name: str) -> None:
    assert not is_name(name)


def test_a_label_may_be_in_any_script() -> None:
    assert is_label("Ana Núñez 3") and is_label("安娜")
    assert not is_label("a\tb") and not is_label("\u2028") and not is_label("x" * 65)


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert without_controls("\x1b[2Jgone\r\x9b\u202ex") == "\\x1b[2Jgone\\r\\x9b\\u202ex"
    assert without_controls("two\nlines\tand a tab") == "two\nlines\tand a tab"
    assert without_controls("two\nlines", lines=False) == "two\\nlines"
    for text in ("plain", "niño · 3 µs → ok", "no\xa0break", "👩\u200d🔬"):
        assert without_controls(text) == text
