"""The course that the container's JupyterLab opens: in its reader's language."""

from __future__ import annotations

import pytest

from labkit.cli.lab_start import PATH, first_page, preferred


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({"LABKIT_LANG": "es"}, "es"),
        ({"LABKIT_LANG": "en", "LC_MESSAGES": "es_ES.UTF-8"}, "en"),
        ({"LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LABKIT_LANG": "", "LC_MESSAGES": "es_MX.UTF-8"}, "es"),
        ({"LC_MESSAGES": "es"}, "es"),
        ({"LC_MESSAGES": "de_DE.UTF-8"}, "en"),
        ({"LC_MESSAGES": "C.UTF-8"}, "en"),
    ],
)
def test_the_environment_decides_as_everywhere(environ: dict[str, str], lang: str) -> None:
    assert first_page(environ) == f"/lab/tree/{lang}/index.ipynb"


@pytest.mark.parametrize("environ", [{}, {"LABKIT_LANG": "", "LC_MESSAGES": ""}])
def test_without_it_the_browser_is_asked(environ: dict[str, str]) -> None:
    assert first_page(environ) == PATH


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("de-DE,de;q=0.9,es;q=0.5,en;q=0.3", "es"),
        ("ES", "es"),
        ("en;q=0, es;q=0.1", "es"),
        ("fr, *;q=0.5", "en"),
        ("", "en"),
        ("es;q=much, ;;, =", "en"),
    ],
)
def test_the_highest_ranked_language_of_the_course_is_taken(header: str, lang: str) -> None:
    assert preferred(header) == lang
