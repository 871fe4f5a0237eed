"""The panel's page: a moment becomes well-formed HTML and a chart."""

from __future__ import annotations

import re

import pytest

from labkit.core.history import Event
from labkit.panel import page
from labkit.panel.chart import chart_svg, describe
from labkit.support import i18n
from tests.tools.made_histories import demo
from tests.tools.panel_moments import many_moments, moment, tags, worker


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_page_is_well_formed_and_everything_is_escaped(lang: str) -> None:
    i18n.set_language(lang)
    for shown in many_moments():
        parsed = tags(page.static_html(shown))
        assert {"b", "i", "u"}.isdisjoint(set(page.face_html(shown.cards[0]).split("<")))
        assert all(card.name in "".join(parsed.texts) for card in shown.cards)
        assert page.text(shown).startswith("made: ")


def test_chart_has_a_bar_per_second_and_worker_and_a_description() -> None:
    shown = moment(*(worker(f"worker-{n}") for n in (1, 2, 3)), events=demo())
    parsed = tags(chart_svg(shown))
    bars = [value for name, value in parsed.attributes if name == "data-worker"]
    assert len(bars) == sum(len(second.by_worker) for second in shown.seconds)
    assert dict(parsed.attributes)["role"] == "img"
    assert "kill worker-2" in describe(shown) and "kill worker-2" in parsed.texts
    assert {"results per second", "seconds since the first event"} <= set(parsed.texts)


def test_replaced_panel_shows_so_only_while_the_newer_one_beats() -> None:
    html = page.superseded_html(7, "There is a newer one.")
    early, late = re.findall(r'<div class="([^"]+)"', html)
    assert "lk-early" in early and "lk-late" in late and "no longer live" in html
    assert re.search(rf"\.lk-early {{ animation: lk-early 0s linear {page.STALE_S}s", page.STYLE)


def test_chart_without_results_shows_a_note() -> None:
    assert "no results in this time" in tags(chart_svg(moment())).texts
    alone = moment(events=[Event(3.0, "done", "ab" * 16, 1, "worker-1")])
    assert "no results in this time" in tags(chart_svg(alone)).texts


def test_each_heartbeat_is_a_new_delayed_curtain_and_the_last_stays() -> None:
    assert page.beat_html(1) != page.beat_html(2)
    assert "lk-late" in page.beat_html(1) and "lk-late" not in page.closed_html("over")
    assert f"lk-late 0s linear {page.STALE_S}s" in page.STYLE
