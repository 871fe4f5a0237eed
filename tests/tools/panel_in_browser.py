"""The control panel of a notebook in a real browser, for tests."""

from __future__ import annotations

from tests.tools.jupyterlab import Notebook

SEEN_MS = 60_000

_CUT = """root => [...root.querySelectorAll('.lk-box, .lk-box *')].filter(each => {
    const box = each.closest('.lk-box').getBoundingClientRect(), own = each.getBoundingClientRect();
    return each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0 || own.right > box.right + 1;
}).map(each => each.className + ': ' + each.innerText)"""


class PanelInBrowser:
    """The last panel of a notebook, as it appears on the screen."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.root = notebook.page.locator(".labkit-panel").last
        self.root.wait_for(timeout=SEEN_MS)
        self.root.scroll_into_view_if_needed()

    def card(self, name: str, words: str) -> None:
        """Wait until a card shows this text."""
        face = self.root.locator(f'.lk-face[data-name="{name}"]')
        face.get_by_text(words, exact=False).first.wait_for(timeout=SEEN_MS)

    def log(self, words: str) -> None:
        """Wait until the log shows this text."""
        self.root.locator(".lk-log").get_by_text(words).first.wait_for(timeout=SEEN_MS)

    def click(self, action: str, name: str) -> None:
        """Press a card's button, which must be one that can be pressed."""
        box = self.root.locator(".lk-box", has=self.notebook.page.locator(f'[data-name="{name}"]'))
        box.get_by_role("button", name=action, exact=True).click(timeout=SEEN_MS)

    def fact(self, name: str, fact: str) -> str:
        """Return the value of a card's fact, by its title."""
        face = self.root.locator(f'.lk-face[data-name="{name}"]')
        row = face.locator("dt", has_text=fact).locator("xpath=following-sibling::dd[1]")
        return str(row.inner_text(timeout=SEEN_MS))

    def headline(self, words: str) -> None:
        """Wait until the line above the cards shows this text."""
        self.root.locator(".lk-headline").get_by_text(words).wait_for(timeout=SEEN_MS)

    def text(self) -> str:
        """Return everything that the cards and the line above them show."""
        faces = self.root.locator(".lk-headline, .lk-face").all_inner_texts()
        return "\n".join(faces)

    def cut(self) -> list[str]:
        """Return the texts of the cards that are wider than the room that the screen gives them."""
        return list(self.root.evaluate(_CUT))

    def curtain(self, words: str) -> None:
        """Wait until a notice covers the panel and shows this reason."""
        self.root.locator(".lk-curtain").get_by_text(words).wait_for(timeout=SEEN_MS)
