"""The pages' own files: their words exist, they hold no inline script, and they need no other machine."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from labkit.gateway.guard import HEADERS
from labkit.gateway.routes.dashboard import FROM_PACKAGES, OURS, _page
from labkit.gateway.words import WORDS, words
from labkit.support.i18n import in_language

PAGES = ("dashboard.html", "docs.html")
FILES = {path.name: path.read_text(encoding="utf-8") for path in OURS.iterdir()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}


class Page(HTMLParser):
    """Collects scripts, handlers and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self.inline.append(tag)
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        self.addresses += [str(given[name]) for name in ("src", "href") if name in given]
        self.ids += [str(given["id"])] if "id" in given else []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_inline_script_and_names_no_other_machine(name: str) -> None:
    page = Page()
    page.feed(FILES[name])
    assert page.inline == [] and page.handlers == []
    assert not [address for address in page.addresses if "//" in address]
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    files = {address.removeprefix("/static/") for address in page.addresses if address.startswith("/static/")}
    assert not [file for file in files if "/" not in file and file not in FILES]
    assert {file.split("/")[0] for file in files if "/" in file} <= FROM_PACKAGES.keys()


def test_scripts_name_no_other_machine_and_turn_no_text_into_code() -> None:
    for name, text in SCRIPTS.items():
        assert not re.search(r"https?://|innerHTML|\beval\(|new Function|document\.write", text), name


def test_each_word_is_used_and_each_used_one_exists() -> None:
    in_pages = {found for name in PAGES for found in re.findall(r"\{\{(\w+)\}\}", FILES[name])}
    assert in_pages <= WORDS.keys() | {"cluster", "lang", "other_lang", "data"}
    called = {name for text in SCRIPTS.values() for name in re.findall(r'\b(?:word|both)\(\s*"(\w+)"', text)}
    assert called <= WORDS.keys()
    quoted = {name for text in SCRIPTS.values() for name in re.findall(r'"(\w+)"', text)}
    assert not [name for name in WORDS if name not in in_pages | quoted]


@pytest.mark.parametrize("name", PAGES)
def test_a_rendered_page_is_in_its_language(name: str) -> None:
    english = bytes(_page(name, "en").body).decode()
    spanish = bytes(_page(name, "es").body).decode()
    assert '<html lang="en">' in english and '<html lang="es">' in spanish
    assert "{{" not in english + spanish
    assert english != spanish


def test_every_word_has_its_spanish() -> None:
    with in_language("es"):
        spanish = words()
    same = {name for name, text in words().items() if spanish[name] == text}
    assert same <= {"how_many", "token", "not_done"}


def test_the_policy_allows_no_inline_script_and_no_eval() -> None:
    policy = dict(HEADERS)[b"content-security-policy"].decode()
    assert "script-src" not in policy and "default-src 'self';" in policy and "unsafe-eval" not in policy
