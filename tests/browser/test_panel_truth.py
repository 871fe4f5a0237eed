"""The panel in a real browser while everything is killed: every card stays true and readable."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.tools.jupyterlab import Notebook, browser_page
from tests.tools.panel_in_browser import SEEN_MS, PanelInBrowser

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("notebooks")]

PICTURES = os.environ.get("PANEL_PICTURES")
"""A folder for screenshots of every step, to be looked at."""
OPEN = (
    "from labkit import open_cluster\n"
    "from labkit.support.i18n import set_language\n"
    "set_language({language!r})\n"
    "cluster = open_cluster(workers=3, redis=True)\n"
    "cluster.panel(work=True)"
)
KILLS = "for n in (1, 2, 3):\n    cluster.kill(f'worker-{n}')"
WORDS = {
    "en": {
        "kill": "kill",
        "start": "start",
        "says": "broker says",
        "heard": "0.",
        "rate": "0.0 results/s",
        "joining": "joining",
        "silent": "no word from the broker",
        "nothing": "nothing",
        "missing": "not there",
        "killed": "killed",
        "redis": "unreachable",
        "ready": "3 of 3",
        "newer": "There is a newer panel",
        "stale": "This picture is no longer live",
    },
    "es": {
        "kill": "matar",
        "start": "iniciar",
        "says": "broker",
        "heard": "0,",
        "rate": "0,0 resultados/s",
        "joining": "uniéndose",
        "silent": "sin noticias del broker",
        "nothing": "nada",
        "missing": "no está",
        "killed": "muerto",
        "redis": "no responde",
        "ready": "3 de 3",
        "newer": "Hay un panel más nuevo",
        "stale": "Esta imagen ya no está viva",
    },
}


def picture(panel: PanelInBrowser, name: str) -> None:
    if PICTURES:
        panel.root.screenshot(path=f"{PICTURES}/{name}.png")


@pytest.mark.parametrize("width", [1400, 640])
@pytest.mark.parametrize("language", ["en", "es"])
def test_cards_stay_true_and_readable_while_everything_is_killed(
    folder: Path, server: str, language: str, width: int
) -> None:
    say = WORDS[language]
    name = f"{language}-{width}"
    cells = [new_code_cell(code) for code in (OPEN.format(language=language), KILLS, "cluster.panel()")]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / f"{name}.ipynb")
    with browser_page(width=width) as page:
        notebook = Notebook(page, server, f"{name}.ipynb")
        notebook.select("open_cluster")
        notebook.menu("Run", "Run Selected Cell")
        panel = PanelInBrowser(notebook)
        panel.card("worker-2", say["heard"])
        picture(panel, f"{name}-1-works")
        panel.click(say["kill"], "redis")
        panel.card("redis", say["redis"])
        picture(panel, f"{name}-2-redis")
        assert panel.cut() == []
        panel.click(say["kill"], "broker")
        panel.card("worker-1", say["silent"])
        assert panel.fact("worker-1", say["says"]) == say["nothing"]
        panel.click(say["kill"], "worker-2")
        panel.card("worker-2", say["killed"])
        assert say["joining"] not in panel.text() and say["rate"] in panel.text()
        assert panel.cut() == []
        picture(panel, f"{name}-3-no-broker")
        panel.click(say["start"], "broker")
        panel.card("worker-2", say["missing"])
        assert panel.fact("worker-2", say["says"]) == say["missing"]
        panel.click(say["start"], "worker-2")
        panel.headline(say["ready"])
        notebook.select("for n in")
        notebook.menu("Run", "Run Selected Cell")
        for n in (1, 2, 3):
            panel.card(f"worker-{n}", say["killed"])
        panel.headline(say["rate"])
        marks = panel.root.locator(".lk-chart text")
        marks.get_by_text(re.compile(r"kill worker-3|kill ×3|\+\d")).last.wait_for(timeout=SEEN_MS)
        labels = [text for text in marks.all_text_contents() if text.split()[0] in ("kill", "start")]
        named = sum(int((re.search("[+×]([0-9]+)", text) or [0, 1])[1]) + ("+" in text) for text in labels)
        assert named == panel.root.locator(".lk-chart line[stroke-width='2']").count() >= 3, labels
        picture(panel, f"{name}-4-killed")
        assert panel.cut() == []
        notebook.select("cluster.panel()")
        panels = page.locator(".labkit-panel")
        notebook.menu("Run", "Run Selected Cell")
        panels.nth(1).wait_for(timeout=SEEN_MS)
        former = panels.first.locator(".lk-curtain:visible")
        former.get_by_text(say["newer"]).wait_for(timeout=SEEN_MS)
        page.wait_for_timeout(7_000)  # longer than a panel without heartbeats stays uncovered
        assert say["newer"] in former.first.inner_text()
        notebook.menu("Kernel", "Restart Kernel…")
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        for each in (panels.first, panels.nth(1)):
            each.locator(".lk-curtain:visible").get_by_text(say["stale"]).wait_for(timeout=SEEN_MS)
        assert page.locator(".lk-curtain:visible").get_by_text(say["newer"]).count() == 0
        picture(panel, f"{name}-5-restarted")
