"""A real JupyterLab server for tests, and the actions of a person in a notebook in a real browser.

The server has its own folders for settings and runtime files, so the developer's files are neither read nor
written. It listens on loopback only, on a port that the system chose, and is ended by its process number.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from tests.tools.waiting import require, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TOKEN = "token-of-the-tests"
START_S = 60.0
CELL_MS = 240_000
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    },
}  # fmt: skip


def chromium() -> str:
    """Return the browser's program; without one the test is skipped, and fails in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require(found, "a browser: chromium (apt install chromium)")
    assert found is not None
    return found


@contextmanager
def browser_page(width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """Yield an empty page of a headless browser."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, chromium_sandbox=False)
        try:
            yield browser.new_page(viewport={"width": width, "height": height}, locale="en-GB")
        finally:
            browser.close()


@contextmanager
def jupyterlab(folder: Path, state: Path) -> Iterator[str]:
    """Yield the address of a JupyterLab that shows ``folder`` and keeps its own files in ``state``."""
    config, runtime = state / "config", state / "runtime"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS), "utf-8")
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(config), "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_DATA_DIR": str(state / "data"), "IPYTHONDIR": str(state / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(state / "work"),
    }  # fmt: skip
    log = state / "jupyterlab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
             f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}",
             "--ServerApp.port_retries=0"],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        yield wait_until(lambda: _address(process, runtime, log), START_S, f"JupyterLab to serve ({log})")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    assert process.poll() is None, log.read_text("utf-8", "replace")
    for file in runtime.glob("jpserver-*.json"):
        try:
            url = str(json.loads(file.read_text("utf-8"))["url"])
            with urlopen(f"{url}api/status?token={TOKEN}", timeout=5):
                return url
        except (ValueError, OSError):
            return ""  # still being written, or not serving yet
    return ""


class Notebook:
    """A notebook that is open in JupyterLab, with the actions of a person."""

    def __init__(self, page: Page, server: str, name: str) -> None:
        self.page = page
        page.goto(f"{server}lab/tree/{name}?token={TOKEN}&reset", timeout=CELL_MS)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=CELL_MS)
        self._until_idle()

    def menu(self, menu: str, item: str) -> None:
        """Choose an item of the main menu, by its words."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=menu).first.click()
        self.page.locator(".lm-Menu .lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    def select(self, code: str) -> Locator:
        """Click beside the first cell that contains ``code``, and return it."""
        cell = self.page.locator(".jp-CodeCell", has=self.page.locator(".cm-content", has_text=code)).first
        cell.scroll_into_view_if_needed(timeout=CELL_MS)
        cell.locator(".jp-InputPrompt").first.click()
        return cell

    def rewrite(self, code: str, old: str, new: str) -> None:
        """Replace ``old`` by ``new`` in the first cell that contains ``code``; the cell stays selected."""
        editor = self.select(code).locator(".cm-content")
        lines: list[str] = editor.locator(".cm-line").all_text_contents()
        text = "\n".join(lines)
        assert old in text, text
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text.replace(old, new))
        self.page.keyboard.press("Escape")

    def _until_idle(self) -> None:
        self.page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=CELL_MS)

    def until_done(self, timeout_ms: int = CELL_MS) -> None:
        """Wait until nothing is being executed any more."""
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.innerText.includes('*'))",
            timeout=timeout_ms,
        )
        self._until_idle()
