"""Day 3 in a real JupyterLab in a real browser: run from the menu, then the panel is used as a person does.

The cluster under the panel is at work while its worker is killed: the panel's own stream of tasks keeps every
worker computing one and holding the next, so a kill always interrupts something.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from notebooks import sources
from tests.tools.jupyterlab import Notebook, browser_page
from tests.tools.panel_in_browser import SEEN_MS, PanelInBrowser

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("notebooks")]

PICTURE = os.environ.get("PANEL_PICTURE")
"""Where to put a screenshot of the panel: ``PANEL_PICTURE=docs/panel.png`` renews the README's."""


def test_day_3_panel_kills_and_restarts_a_worker(folder: Path, server: str) -> None:
    shutil.copy(sources.notebook_path("day3_distributed", "en"), folder / "day3.ipynb")
    with browser_page() as page:
        notebook = Notebook(page, server, "day3.ipynb")
        notebook.menu("Edit", "Clear Outputs of All Cells")
        notebook.select("lesson.end()")
        notebook.menu("Run", "Run All Above Selected Cell")
        notebook.until_done(timeout_ms=280_000)
        assert page.locator(".jp-OutputArea-output[data-mime-type*='error']").count() == 0
        panel = PanelInBrowser(notebook)
        panel.card("worker-2", "busy")
        panel.click("kill", "worker-2")
        panel.card("worker-2", "killed, lost")
        panel.log("is first in the queue again: worker-2 no longer has it")
        if PICTURE:
            page.wait_for_timeout(3000)
            panel.root.screenshot(path=PICTURE)
        panel.click("start", "worker-2")
        panel.card("worker-2", "busy")
        notebook.rewrite("lesson.end()", "finished = False", "finished = True")
        notebook.menu("Run", "Run Selected Cell")
        notebook.until_done()
        panel.curtain("The cluster of this panel has been closed.")
        page.get_by_text("Nothing left behind").wait_for(timeout=SEEN_MS)


def test_panel_of_a_restarted_kernel_shows_a_notice_and_a_new_one_works(folder: Path, server: str) -> None:
    code = "from labkit import open_cluster\ncluster = open_cluster(workers=1, redis=False)\ncluster.panel()"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata=kernel), folder / "panel.ipynb")
    with browser_page() as page:
        notebook = Notebook(page, server, "panel.ipynb")
        notebook.menu("Run", "Run All Cells")
        panel = PanelInBrowser(notebook)
        panel.card("worker-1", "ready")
        assert not panel.root.locator(".lk-curtain").is_visible()
        notebook.menu("Kernel", "Restart Kernel…")
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        panel.curtain("This picture is no longer live")
        notebook.until_done()
        notebook.menu("Run", "Run All Cells")
        newer = PanelInBrowser(notebook)
        newer.card("worker-1", "ready")
        newer.click("freeze", "worker-1")
        newer.card("worker-1", "frozen")
        newer.click("resume", "worker-1")
        newer.card("worker-1", "ready")
