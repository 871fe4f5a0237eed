"""The course that the container's JupyterLab opens: in its reader's language."""

from __future__ import annotations

import pytest

from labkit.cli.lab_start import PATH, first_page


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
