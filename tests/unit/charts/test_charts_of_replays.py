"""A recording and its replay side by side: the same seconds, the same workers in the same rows."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit import charts
from labkit.core.history import History
from labkit.simulation import simulate
from labkit.support import i18n
from tests.tools.drawn_charts import assert_legible, texts
from tests.tools.made_histories import demo, frozen, run

PAIRS = [
    (History(demo()), History(run())),
    (History(frozen()), History(frozen())),
    (History(run(tasks=5, workers=2)), History(simulate(seed=2, workers=9).history)),
    (History(), History(run())),
    (History(), History()),
]


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
@pytest.mark.parametrize("pair", PAIRS, ids=["kill", "freeze", "sizes", "nothing", "both empty"])
def test_two_histories_are_drawn_with_the_same_axis(pair: tuple[History, History], lang: str) -> None:
    i18n.set_language(lang)
    chart = charts.side_by_side(
        *pair, ("recorded", "a policy of one's own with a rather long name: work.mine")
    )
    canvas = FigureCanvasAgg(chart)
    canvas.draw()
    left, right = chart.axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_title(loc="left") == "recorded"
    assert charts.alt_text(chart).startswith("recorded: ")
    width, height = canvas.get_width_height()
    ticks = {id(tick) for axes in chart.axes for tick in axes.get_xticklabels()}
    for text in texts(chart):
        if id(text) not in ticks:
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, (
                text.get_text()
            )
    assert_legible(chart)
    if all(len(history) for history in pair):
        assert left.get_window_extent().x1 < right.get_window_extent().x0


def test_the_table_has_a_row_per_attempt_of_both() -> None:
    one, other = History(run(tasks=5)), History(run(tasks=7))
    table = charts.side_by_side_table(one, other, ("a", "b"))
    assert [row[0] for row in table.rows] == ["a"] * 5 + ["b"] * 7
    assert all(len(row) == len(table.columns) for row in table.rows)
