"""Spanish beside English: the catalogue is complete, and each sentence comes in the requested language."""

from __future__ import annotations

import argparse
import ast
import re
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

from labkit.core.errors import SettingsError, TaskFailed
from labkit.support import i18n
from labkit.support.i18n import _, language, ngettext, set_language, translate_argparse, translate_error

ROOT = Path(__file__).parents[3]
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}  # as in the Makefile

Forms = tuple[str, ...]
"""The forms of one message: the text alone, or singular and plural."""


def forms(text: object) -> Forms:
    return (text,) if isinstance(text, str) else tuple(text) if isinstance(text, tuple | list) else ()


def sources() -> list[Path]:
    return [
        ROOT / "lab.py",
        *sorted((ROOT / "labkit").rglob("*.py")),
        *sorted((ROOT / "benchmarks").rglob("*.py")),
        *sorted((ROOT / "workers").rglob("*.py")),
    ]


def messages_in_the_code() -> dict[Forms, str]:
    """Return each message in the code with the first place that has it."""
    found: dict[Forms, str] = {}
    for path in sources():
        for line, message, *_rest in extract_from_file("python", path, keywords=KEYWORDS):
            found.setdefault(forms(message), f"{path.relative_to(ROOT)}:{line}")
    return found


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with i18n.CATALOGUE.open("rb") as file:
        return read_po(file, locale="es")


def translations(catalogue: Catalog) -> dict[Forms, Forms]:
    return {forms(message.id): forms(message.string) for message in catalogue if message.id}


def fields(text: str) -> list[tuple[str, str | None]]:
    """Return (name, conversion) of each {field!conversion} in ``text``."""
    parsed = string.Formatter().parse(text)
    return [(name, conversion) for _text, name, _spec, conversion in parsed if name is not None]


def placeholders(text: str) -> list[str]:
    """Return what is filled into a message: str.format's fields, or argparse's %(name)s and %s."""
    return sorted(map(str, re.findall(r"%(?:\(\w+\))?[rsd]", text) or set(fields(text))))


# --- the catalogue ---


def test_every_message_has_a_spanish_translation(catalogue: Catalog) -> None:
    known = translations(catalogue)
    missing = []
    for message, place in messages_in_the_code().items():
        translated = known.get(message, ())
        if len(translated) != len(message) or not all(translated):
            missing.append(f"{place}: {' / '.join(map(repr, message))}")
    if missing:
        where = f"{i18n.CATALOGUE.relative_to(ROOT)} (`make messages` adds the empty entries)"
        listed = "\n".join(missing)
        pytest.fail(
            f"{len(missing)} messages have no Spanish yet; write it into {where}:\n{listed}", pytrace=False
        )


def test_no_translation_is_fuzzy_or_left_over(catalogue: Catalog) -> None:
    in_the_code = messages_in_the_code()
    wrong = [f"fuzzy: {message.id!r}" for message in catalogue if message.id and message.fuzzy]
    wrong += [f"left over: {message!r}" for message in translations(catalogue) if message not in in_the_code]
    wrong += [f"obsolete: {message!r}" for message in catalogue.obsolete]
    assert not wrong, "\n".join(["", *wrong])


def test_a_translation_has_the_placeholders_of_its_original(catalogue: Catalog) -> None:
    wrong = []
    for message, translated in translations(catalogue).items():
        for original, spanish in zip(
            message, translated, strict=False
        ):  # the first test reports missing ones
            if spanish and placeholders(original) != placeholders(spanish):
                wrong.append(f"{original!r} -> {spanish!r}")
    assert not wrong, "\n".join(["", *wrong])


def test_placeholders_have_names_so_that_a_translator_can_move_them() -> None:
    wrong = []
    for message, place in messages_in_the_code().items():
        if any(not name or name.isdigit() for form in message for name, _conversion in fields(form)):
            wrong.append(f"{place}: {message!r}")
    assert not wrong, "\n".join(["", *wrong])


def test_a_message_marked_for_translation_is_a_plain_string() -> None:
    wrong = [f"{path.relative_to(ROOT)}:{call}" for path in sources() for call in invisible_calls(path)]
    assert not wrong, "\n".join(["the extractor finds neither f-strings nor expressions:", *wrong])


def invisible_calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in KEYWORDS and node.args):
            continue
        if isinstance(node.args[0], ast.JoinedStr | ast.BinOp | ast.Call):
            yield f"{node.lineno}: {ast.unparse(node)}"


# --- which language ---


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "es_ES"}, "es"),
        ({"LANG": "es_ES.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "es_ES.UTF-8", "LABKIT_LANG": "en"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LABKIT_LANG": "es"}, "es"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "et_EE"}, "en"),
    ],
    ids=str,
)
def test_the_environment_decides_the_language(environ: dict[str, str], expected: str) -> None:
    assert i18n.detect(environ) == expected


def test_windows_names_its_languages_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "_windows_locale", lambda: "Spanish_Spain")
    assert i18n.detect({}) == "es"
    assert i18n.detect({"LABKIT_LANG": "en"}) == "en"
    monkeypatch.setattr(i18n, "_windows_locale", lambda: "Estonian_Estonia")
    assert i18n.detect({}) == "en"


def test_a_chosen_language_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LANG", "es")
    set_language("en")
    assert language() == "en"
    set_language(None)
    assert language() == "es"


def test_a_language_without_a_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="'fr'"):
        set_language("fr")


# --- messages ---

EXAMPLE = "{name}={value!r}: es or en is expected"  # one of labkit.support.settings


def test_a_message_is_translated_to_the_current_language() -> None:
    assert _("unrecognized arguments: %s") == "unrecognized arguments: %s"
    set_language("es")
    assert _("unrecognized arguments: %s") == "argumentos no reconocidos: %s"


def test_a_message_without_a_translation_stays_english() -> None:
    set_language("es")
    assert _("this has no translation") == "this has no translation"
    assert [ngettext("{n} stone", "{n} stones", n).format(n=n) for n in (1, 2)] == ["1 stone", "2 stones"]


def test_an_english_plural_has_two_forms() -> None:
    said = [ngettext("{n} task", "{n} tasks", n).format(n=n) for n in (0, 1, 2)]
    assert said == ["0 tasks", "1 task", "2 tasks"]


def test_an_error_is_shown_translated_and_logged_in_english() -> None:
    set_language("es")
    error = SettingsError(EXAMPLE, name="LABKIT_LANG", value="fr")
    assert translate_error(error) == "LABKIT_LANG='fr': se espera es o en"
    assert str(error) == "LABKIT_LANG='fr': es or en is expected"


def test_an_error_inside_an_error_is_translated_too() -> None:
    set_language("es")
    cause = SettingsError(EXAMPLE, name="LABKIT_LANG", value="fr")
    error = TaskFailed("worker-1: {cause}", cause=cause)
    assert translate_error(error) == "worker-1: LABKIT_LANG='fr': se espera es o en"


def test_a_foreign_error_keeps_its_own_text() -> None:
    set_language("es")
    assert translate_error(ZeroDivisionError("division by zero")) == "division by zero"


def test_an_english_run_does_not_load_babel() -> None:
    code = "import sys; from labkit.support.i18n import _; _('options'); sys.exit('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- argparse ---


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    monkeypatch.setattr(argparse, "_", getattr(argparse, "_"))  # noqa: B009  (put back after the test)
    monkeypatch.setattr(argparse, "ngettext", getattr(argparse, "ngettext"))  # noqa: B009
    set_language("es")
    translate_argparse()
    parser = argparse.ArgumentParser(prog="labkit")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--pair", nargs=2)
    commands = parser.add_subparsers(required=True, metavar="ORDEN")
    commands.add_parser("up").add_argument("name")
    return parser


def test_argparse_helps_in_spanish(parser: argparse.ArgumentParser) -> None:
    shown = parser.format_help()
    assert shown.startswith("uso: labkit")
    assert "opciones:" in shown and "muestra esta ayuda" in shown
    assert "usage" not in shown and "options" not in shown and "show this" not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "faltan argumentos"),
        (["up"], "faltan argumentos"),
        (["down"], "opción no válida"),
        (["--workers", "x", "up", "a"], "valor no válido"),
        (["up", "a", "--colour"], "argumentos no reconocidos"),
        (["--workers"], "se esperaba un argumento"),
        (["--pair", "1"], "se esperaban 2 argumentos"),
    ],
    ids=str,
)
def test_argparse_complains_in_spanish(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    said = capsys.readouterr().err
    assert "labkit: error:" in said or "labkit up: error:" in said
    assert expected in said


# --- a server's readers ---


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("de-DE,de;q=0.9,es;q=0.5,en;q=0.3", "es"),
        ("ES", "es"),
        ("en;q=0, es;q=0.1", "es"),
        ("fr, *;q=0.5", None),
        ("", None),
        ("es;q=much, ;;, =", None),
    ],
)
def test_the_highest_ranked_of_our_languages_is_taken(header: str, lang: str | None) -> None:
    assert i18n.preferred(header) == lang


def test_one_request_has_its_own_language_and_others_keep_theirs() -> None:
    set_language("en")
    try:
        seen: list[str] = []
        with i18n.in_language("es"):
            other = threading.Thread(target=lambda: seen.append(language()))
            other.start()
            other.join()
            assert language() == "es" and _("busy") == "ocupado"
            with i18n.in_language("en"):
                assert _("busy") == "busy"
            assert language() == "es"
        assert language() == "en" and seen == ["en"]
    finally:
        set_language(None)


def test_a_request_cannot_ask_for_a_language_without_a_catalogue() -> None:
    with pytest.raises(ValueError, match="no catalogue for language 'fr'"), i18n.in_language("fr"):
        pass
