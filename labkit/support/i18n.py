"""The reader's language: every sentence that labkit shows to people is translated here.

Rules:

* ``_("{done} of {total} done")`` looks up an English sentence in the catalogue; ``.format(...)`` comes
  afterwards, so that the catalogue holds the template. ``N_`` (labkit.core.errors) marks a sentence that is
  looked up later.
* ``LABKIT_LANG`` (es or en) decides, otherwise the locale. Any language but Spanish becomes English.
* Logs, JSON and code are always English.
* A server answers several people at once, each in the language of the request: ``in_language``.

The catalogue is ``locale/es/LC_MESSAGES/labkit.po``. It is compiled in memory for the first Spanish sentence,
so there is no binary file to keep up to date, and an English run never loads Babel. ``make messages`` updates
it from the code; a test lists what is missing.
"""

from __future__ import annotations

import functools
import gettext
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from labkit.core.errors import N_, LabkitError

LANGUAGES = ("en", "es")
DECISIVE = ("LABKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""The variables that decide: the first one that is set."""
CATALOGUE = Path(__file__).parents[1] / "locale" / "es" / "LC_MESSAGES" / "labkit.po"

_chosen: str | None = None
_of_this_request: ContextVar[str | None] = ContextVar("language", default=None)


def language() -> str:
    """Return the language in force: "en" or "es"."""
    if (requested := _of_this_request.get()) is not None:
        return requested
    return _chosen if _chosen is not None else _detected()


def set_language(name: str | None) -> None:
    """Use the language ``name`` ("en" or "es") from now on; None lets environment and locale decide again.

    Raises ValueError for a language without a catalogue.
    """
    global _chosen
    if name is not None:
        _require_catalogue(name)
    _detected.cache_clear()
    _chosen = name


def _require_catalogue(name: str) -> None:
    if name not in LANGUAGES:
        raise ValueError(f"no catalogue for language {name!r}; known: {', '.join(LANGUAGES)}")


@contextmanager
def in_language(name: str) -> Iterator[None]:
    """Use the language ``name`` ("en" or "es") in this block; other threads and requests keep theirs.

    Raises ValueError for a language without a catalogue.
    """
    _require_catalogue(name)
    before = _of_this_request.set(name)
    try:
        yield
    finally:
        _of_this_request.reset(before)


def preferred(accept_language: str) -> str | None:
    """Return the language of ours that an ``Accept-Language`` header ranks highest; None if it names none."""
    ranked = []
    for place, part in enumerate(accept_language.split(",")):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            rank = float(weight)
        except ValueError:
            continue  # not understood, so not asked for
        if (lang := name.split("-")[0]) in LANGUAGES and rank > 0:
            ranked.append((-rank, place, lang))
    return min(ranked)[2] if ranked else None


def detect(environ: Mapping[str, str]) -> str:
    """Return the language that an environment requests: the first of its variables that is set decides.

    lab.py does the same without labkit, before anything is installed; a test compares the two.
    """
    names = (environ.get(variable) for variable in DECISIVE)
    name = next((name for name in names if name), "") or _windows_locale()
    return "es" if re.split(r"[-_.@]", name.lower())[0] in ("es", "spanish") else "en"


def _(message: str) -> str:
    """Return ``message`` in the reader's language, or the English text if there is no translation."""
    return message if language() == "en" else _spanish().gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """Return the form for ``n`` things, in the reader's language."""
    if language() == "en":
        return singular if n == 1 else plural
    return _spanish().ngettext(singular, plural, n)


def translate_error(error: BaseException) -> str:
    """Return the text of ``error`` in the reader's language; str(error) if it is not labkit's.

    An error among its parameters (the cause that it names) is translated, too.
    """
    return translated(error.template, error.params) if isinstance(error, LabkitError) else str(error)


def translated(template: str, params: Mapping[str, Any]) -> str:
    """Return the sentence of a template in the reader's language; an error among ``params`` as well."""
    values = {
        name: translate_error(value) if isinstance(value, LabkitError) else value
        for name, value in params.items()
    }
    return _(template).format(**values)


def translate_argparse() -> None:
    """Translate argparse's own words ("usage:", "invalid choice"), too. Call it before making a parser.

    argparse calls ``gettext.gettext`` by the module-level name ``_``. That function needs a compiled file in
    a folder and chooses the language by itself. So argparse's two names are redirected to this module. They
    have been the same since Python 2.7, and a test fails if they change.
    """
    import argparse

    # Each plural form is looked up alone: Spanish and English agree on which numbers are plural.
    vars(argparse).update(_=_, ngettext=lambda singular, plural, n: _(singular if n == 1 else plural))


@functools.cache
def _detected() -> str:
    return detect(os.environ)


@functools.cache
def _spanish() -> gettext.GNUTranslations:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with CATALOGUE.open("rb") as source:
        write_mo(compiled, read_po(source, locale="es"))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _windows_locale() -> str:
    """Return the user's locale on Windows, where the environment lacks it: "es_ES" or "Spanish_Spain"."""
    if os.name != "nt":
        return ""
    import locale

    return locale.getlocale()[0] or ""


# argparse's messages (Python 3.11 to 3.14), marked for translation here because its source is not ours.
ARGPARSE_MESSAGES = (
    N_("usage: "),
    N_("%(heading)s:"),
    N_("positional arguments"),
    N_("options"),
    N_("subcommands"),
    N_("show this help message and exit"),
    N_("show program's version number and exit"),
    N_(" (default: %(default)s)"),
    N_("%(prog)s: error: %(message)s\n"),
    N_("%(prog)s: warning: %(message)s\n"),
    N_("argument %(argument_name)s: %(message)s"),
    N_("ambiguous option: %(option)s could match %(matches)s"),
    N_("can't open '%(filename)s': %(error)s"),
    N_("command '%(parser_name)s' is deprecated"),
    N_("option '%(option)s' is deprecated"),
    N_("argument '%(argument_name)s' is deprecated"),
    N_("expected one argument"),
    N_("expected at most one argument"),
    N_("expected at least one argument"),
    N_("ignored explicit argument %r"),
    N_("invalid %(type)s value: %(value)r"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
    N_("invalid choice: %(value)r, maybe you meant %(suggestion)r? (choose from %(choices)s)"),
    N_("not allowed with argument %s"),
    N_("one of the arguments %s is required"),
    N_("the following arguments are required: %s"),
    N_("unexpected option string: %s"),
    N_("unknown parser %(parser_name)r (choices: %(choices)s)"),
    N_("unrecognized arguments: %s"),
    N_("expected %s argument"),
    N_("expected %s arguments"),
)
