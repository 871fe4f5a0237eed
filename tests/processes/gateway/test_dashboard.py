"""The dashboard in a real browser, on a real cluster whose worker is killed by its button."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit import open_cluster
from labkit.cluster import Cluster
from labkit.cluster.api_side import own_address
from labkit.jobs import sleep_for
from tests.processes.gateway.conftest import TOKEN, Running
from tests.tools.jupyterlab import FLAGS, chromium
from tests.tools.waiting import require, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SEEN_MS = 20_000
PICTURE = os.environ.get("DASHBOARD_PICTURE")
"""Where to put a screenshot: ``DASHBOARD_PICTURE=docs/dashboard.png`` renews the README's."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS, chromium_sandbox=False)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(3) as opened:
        yield opened


@pytest.fixture(scope="module")
def running(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    served = Running(cluster, tmp_path_factory.mktemp("spool"))
    yield served
    served.close()


@contextmanager
def opened(browser: Browser, port: int, path: str = "/", **context: Any) -> Iterator[Page]:
    """Yield the dashboard in a new window; nothing may go wrong in its console."""
    context = {"viewport": {"width": 1400, "height": 1000}, "locale": "en-GB", **context}
    window = browser.new_context(**context)
    page = window.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text)
            if "Content Security Policy" in message.text or "Uncaught" in message.text
            else None
        ),
    )
    page.goto(f"http://127.0.0.1:{port}{path}")
    try:
        page.locator("#live[data-state=live]").wait_for(timeout=SEEN_MS)
        yield page
        assert wrong == []
    finally:
        window.close()


def card(page: Page, name: str, state: str) -> None:
    page.locator(f".card[data-name='{name}'] .state", has_text=state).wait_for(timeout=SEEN_MS)


def logged(page: Page, text: str) -> None:
    page.locator("#log li", has_text=text).first.wait_for(timeout=SEEN_MS)


def test_a_batch_is_sent_and_its_worker_killed_shown_lost_and_started_again(
    browser: Browser, running: Running, cluster: Cluster
) -> None:
    wide = {"width": 1600, "height": 940}
    with opened(browser, running.port, viewport=wide) as page, cluster.client("work") as client:
        for n in (1, 2, 3):
            card(page, f"worker-{n}", "ready")
        page.fill("#count", "6")
        page.click("#batch button.primary")
        page.get_by_text("6 of 6 done").wait_for(timeout=SEEN_MS)
        pictures = page.locator("#pictures img")
        assert pictures.count() == 12
        wait_until(
            lambda: all(
                each.evaluate("image => image.complete && image.naturalWidth > 0") for each in pictures.all()
            ),
            20.0,
            "the pictures before and after",
        )
        tasks = [client.submit(sleep_for, 0.25) for _ in range(120)]
        card(page, "worker-2", "busy")
        page.click("[aria-label='kill worker-2']")
        page.locator("#ask-token[open]").wait_for(timeout=SEEN_MS)
        page.fill("#token", "not the token")
        page.click("#ask-token button.primary")
        page.locator("#token-wrong").wait_for(timeout=SEEN_MS)
        page.fill("#token", TOKEN)
        page.click("#ask-token button.primary")
        card(page, "worker-2", "killed, lost")
        logged(page, "command: kill worker-2")
        logged(page, "is first in the queue again: worker-2 no longer has it")
        page.locator("#fault", has_text="kill worker-2").wait_for(timeout=SEEN_MS)
        page.locator("#chain li[data-reached=true]").nth(2).wait_for(timeout=SEEN_MS)
        requeued = page.locator("#log li", has_text="worker-2 no longer has it").first
        requeued.locator("button").click()
        story = page.locator("#story[open]")
        story.get_by_text("its worker was killed").wait_for(timeout=SEEN_MS)
        story.get_by_text("as attempt 2").wait_for(timeout=SEEN_MS)
        story.get_by_text("Close").click()
        if PICTURE:
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(1000)
            page.screenshot(path=PICTURE)
        page.click("[aria-label='start worker-2']")
        page.locator(".card[data-name='worker-2'] .state", has_text=re.compile("ready|busy")).wait_for(
            timeout=SEEN_MS
        )
        logged(page, "worker-2 joins, as a new worker")
        page.fill("#log-text", "kill")
        assert page.locator("#log li").count() == 1
        for task in tasks:
            task.result(30)
        page.locator("tr[data-id=nothing_lost][data-met=true]").wait_for(timeout=SEEN_MS)


def test_freezing_scaling_and_a_token_from_the_address(browser: Browser, running: Running) -> None:
    with opened(browser, running.port, f"/#token={TOKEN}") as page:
        assert TOKEN not in page.url
        card(page, "worker-1", "ready")
        page.click("[aria-label='freeze worker-1']")
        card(page, "worker-1", "frozen")
        page.click("[aria-label='resume worker-1']")
        card(page, "worker-1", "ready")
        page.click("#more")
        card(page, "worker-4", "ready")
        page.click("#fewer")
        page.locator(".card[data-name='worker-4']").wait_for(state="detached", timeout=SEEN_MS)


def test_the_page_speaks_spanish_by_header_and_by_its_switch(browser: Browser, running: Running) -> None:
    with opened(browser, running.port, locale="es-CO") as page:
        page.get_by_role("heading", name="Registro de sucesos").wait_for()
        assert page.locator("html").get_attribute("lang") == "es"
        card(page, "worker-1", "listo")
        page.click("#language")
        page.get_by_role("heading", name="Event log").wait_for(timeout=SEEN_MS)
        card(page, "worker-1", "ready")
        page.reload()
        page.get_by_role("heading", name="Event log").wait_for(timeout=SEEN_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, running: Running, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with opened(browser, running.port, color_scheme=scheme) as page:
        card(page, "worker-1", "ready")
        page.locator("#throughput canvas, #throughput .bk-Figure").first.wait_for(
            state="attached", timeout=SEEN_MS
        )
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["impact"]) for rule in found] == []


def test_dark_follows_the_system_and_the_switch(browser: Browser, running: Running) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with opened(browser, running.port, color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.select_option("#theme", "light")
        light = page.evaluate(ground)
        assert dark != light
        page.reload()
        assert page.evaluate(ground) == light, "the choice is kept"
        page.select_option("#theme", "dark")
        assert page.evaluate(ground) == dark


@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_nothing_is_wider_than_the_window(browser: Browser, running: Running, width: int) -> None:
    with opened(browser, running.port, viewport={"width": width, "height": 800}) as page:
        card(page, "worker-1", "ready")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_comes_back_after_a_reload_and_a_new_gateway(
    browser: Browser, cluster: Cluster, tmp_path: Path
) -> None:
    first = Running(cluster, tmp_path)
    with opened(browser, first.port) as page:
        page.reload()
        card(page, "worker-1", "ready")
        first.close()
        page.locator("#live[data-state=reconnecting]", has_text="connecting again").wait_for(timeout=SEEN_MS)
        page.locator("#live[data-state=stale]", has_text="stale since").wait_for(timeout=SEEN_MS)
        second = Running(cluster, tmp_path, first.port)
        try:
            page.locator("#live[data-state=live]").wait_for(timeout=SEEN_MS)
            card(page, "worker-1", "ready")
            assert page.locator("#log li").count() > 0
        finally:
            second.close()


def test_the_page_shows_a_lost_broker_and_its_successor(
    browser: Browser, running: Running, cluster: Cluster
) -> None:
    with opened(browser, running.port, f"/#token={TOKEN}") as page:
        page.click("[aria-label='kill broker']")
        card(page, "worker-1", "no word from the broker")
        page.locator("#said", has_text="broker").wait_for(timeout=SEEN_MS)
        page.click("[aria-label='start broker']")
        card(page, "worker-1", "ready")
        assert page.locator("#live[data-state=live]").is_visible()


AN_HOUR_FAST = """async ([from, to]) => {
  const { store, take } = await import("/static/store.js");
  const { draw } = await import("/static/charts.js");
  const { showLog } = await import("/static/log.js");
  const workers = ["worker-1", "worker-2", "worker-3"];
  const cards = workers.map((name) => ({ name, kind: "worker", colour: "#0072B2" }));
  for (let n = from; n < to; n += 1) {
    const now = n / 4;
    const moment = {
      full: n === 0, now, cards, running: [], marks: [[now - 5, "kill worker-2", true]], away: [],
      spans: workers.flatMap((name) =>
        [0, 1, 2, 3].map((k) => [name, now + k / 20 - 0.25, now + k / 20 - 0.2, `${n}`, 90, "done"])),
      arrows: [[`${n}`, "worker-1", now - 0.2, "worker-2", now]],
      seconds: n % 4 ? [] : [[Math.floor(now), Object.fromEntries(workers.map((name) => [name, 333]))]],
      samples: n % 4 ? [] : [[now, n % 50, 6, 0.001, 0.002, 0.003, 0.004]],
      log: n % 4 ? [] : [[n, now, `task ${n} is first in the queue again`, "good", "worker-1", `${n}`]],
      unrecorded: [], left: [],
    };
    take(moment);
    showLog(moment);
    if (n % 40 === 0) draw();
  }
  return [store.spans.length, store.arrows.length, store.seconds.length, store.samples.length,
          document.querySelectorAll("#log li").length];
}"""
"""An hour's moments at a thousand tasks a second, taken in as fast as the page can."""


def test_the_page_keeps_a_minute_however_long_it_is_open(browser: Browser, running: Running) -> None:
    window = browser.new_context()
    page = window.new_page()
    page.route("**/api/dashboard/**", lambda route: route.abort())
    page.goto(f"http://127.0.0.1:{running.port}/")
    page.locator("#throughput .bk-Figure").wait_for(state="attached", timeout=SEEN_MS)
    tools = window.new_cdp_session(page)
    tools.send("Performance.enable")

    def heap() -> float:
        tools.send("HeapProfiler.collectGarbage")
        rows = tools.send("Performance.getMetrics")["metrics"]
        return float(next(row["value"] for row in rows if row["name"] == "JSHeapUsedSize"))

    page.evaluate(AN_HOUR_FAST, [0, 2400])
    after_ten_minutes = heap()
    spans, arrows, seconds, samples, lines = page.evaluate(AN_HOUR_FAST, [2400, 14_400])
    assert spans <= 4000 and arrows <= 200 and seconds <= 62 and samples <= 62 and lines <= 400
    assert heap() < after_ten_minutes + 3e6
    window.close()


def test_docs_lists_the_calls_without_a_network(browser: Browser, running: Running) -> None:
    window = browser.new_context()
    page = window.new_page()
    foreign: list[str] = []
    page.on(
        "request",
        lambda r: (
            foreign.append(r.url) if "127.0.0.1" not in r.url and not r.url.startswith("data:") else None
        ),
    )
    page.goto(f"http://127.0.0.1:{running.port}/docs")
    page.locator(".opblock", has_text="/api/workers/status/").first.wait_for(timeout=SEEN_MS)
    page.locator(".opblock", has_text="/api/process-batch/distributed/").first.wait_for(timeout=SEEN_MS)
    assert foreign == []
    window.close()


def test_a_browser_on_another_machine_is_asked_for_the_token_once(
    browser: Browser, cluster: Cluster, tmp_path: Path
) -> None:
    address = own_address()
    require(address != "127.0.0.1", "a network, by whose address this machine reaches itself")
    served = Running(cluster, tmp_path, host="0.0.0.0")
    window = browser.new_context(locale="en-GB")
    try:
        page = window.new_page()
        answers: list[int] = []
        page.on("response", lambda answer: answers.append(answer.status))
        page.goto(f"http://{address}:{served.port}/")
        page.locator("#ask-token[open]", has_text="From another machine").wait_for(timeout=SEEN_MS)
        assert cluster.name not in page.content(), "nothing of the cluster without the token"
        assert set(answers) == {200}, "and no request that would have needed it"
        page.fill("#token", "not the token")
        page.click("#ask-token button.primary")
        page.locator("#token-wrong").wait_for(timeout=SEEN_MS)
        page.fill("#token", TOKEN)
        page.click("#ask-token button.primary")
        page.locator("#live[data-state=live]").wait_for(timeout=SEEN_MS)
        page.fill("#count", "2")
        page.click("#batch button.primary")
        page.get_by_text("2 of 2 done").wait_for(timeout=SEEN_MS)
        pictures = "[...document.querySelectorAll('#pictures img')]"
        page.wait_for_function(f"() => {pictures}.filter(i => i.naturalWidth).length === 4", timeout=SEEN_MS)
        page.reload()
        page.locator("#live[data-state=live]").wait_for(timeout=SEEN_MS)
        assert not page.locator("#ask-token[open]").count()

        linked = browser.new_context().new_page()
        linked.goto(f"http://{address}:{served.port}/#token={TOKEN}")
        linked.locator("#live[data-state=live]").wait_for(timeout=SEEN_MS)
        assert linked.url == f"http://{address}:{served.port}/", "a projector does not show the token"
        linked.context.close()
    finally:
        window.close()
        served.close()
