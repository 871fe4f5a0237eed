"""All charts: legible in both languages, each with a description in words and a table of its numbers."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from labkit import charts
from labkit.core.history import Event, History
from labkit.support import i18n
from labkit.support.palette import FAULT
from tests.tools.drawn_charts import assert_legible, labelled, written
from tests.tools.made_histories import crowded, demo, frozen, note, run, strangely_named, task_id

ROOT = Path(__file__).parents[3]


HISTORIES: dict[str, Callable[[], list[Event]]] = {
    "the main run": demo,
    "nothing": list,
    "one event": lambda: [note(0, "submitted", task=task_id(1))],
    "one fault": lambda: [note(0, "fault", fault="kill", target="worker-2")],
    "no fault": run,
    "one task": lambda: run(tasks=1, workers=1),
    "never back": lambda: run(kill_at=1.5, back_after=None),
    "a crash": lambda: run(kill_at=1.5, injected=False),
    "frozen": frozen,
    "crowded": crowded,
    "strange names": strangely_named,
    "five thousand tasks": lambda: run(tasks=5000, workers=4, slots=2, kill_at=10.0),
    "a class": lambda: run(tasks=2000, workers=30, slots=4, kill_at=1.0),
}


@functools.cache
def made(run_name: str) -> History:
    """Return one of the histories; charts only read them."""
    return History(HISTORIES[run_name]())


CHARTS = {
    "throughput": (charts.throughput, charts.throughput_table),
    "gantt": (charts.gantt, charts.gantt_table),
    "recovery": (charts.recovery, charts.recovery_table),
    "share": (charts.share, charts.share_table),
    "overview": (charts.overview, charts.overview_table),
}


# --- all charts ---------------------------------------------------------------------------------------------


LAYOUTS = [("overview", run_name) for run_name in HISTORIES] + [
    (chart_name, run_name)
    for chart_name in ("throughput", "gantt", "recovery", "share")
    for run_name in ("the main run", "nothing", "crowded", "strange names", "a class")
]


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(("chart_name", "run_name"), LAYOUTS)
def test_texts_neither_overlap_nor_leave_the_picture(chart_name: str, run_name: str, language: str) -> None:
    i18n.set_language(language)
    assert_legible(CHARTS[chart_name][0](made(run_name)))


@pytest.mark.parametrize("chart_name", CHARTS)
def test_chart_has_titles_units_description_and_table(chart_name: str, history: History) -> None:
    draw, table = CHARTS[chart_name]
    figure = draw(history)
    assert isinstance(figure, Figure)
    for axes in figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
    assert "worker-2" in charts.alt_text(figure) and charts.alt_text(figure) == repr(figure)
    rows = table(history)
    assert rows.rows and all(len(row) == len(rows.columns) for row in rows.rows)
    assert len(str(rows).splitlines()) == len(rows.rows) + 1
    assert rows._repr_html_().count("<tr>") == len(rows.rows) + 1


@pytest.mark.parametrize("run_name", ["nothing", "one event"])
@pytest.mark.parametrize(
    ("chart_name", "sentence"),
    [
        ("throughput", "no result was delivered"),
        ("gantt", "no task was computed"),
        ("recovery", "no fault and no loss was recorded"),
        ("share", "no worker was there"),
    ],
)
def test_empty_chart_explains_that_nothing_was_recorded(
    chart_name: str, sentence: str, run_name: str
) -> None:
    draw, table = CHARTS[chart_name]
    history = History(HISTORIES[run_name]())
    figure = draw(history)
    assert sentence in written(figure)
    assert charts.alt_text(figure)
    assert table(history).rows == []


def test_charts_use_the_readers_language(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    i18n.set_language("es")
    monkeypatch.setattr(i18n, "_spanish", lambda: _Shouting())
    for draw, table in CHARTS.values():
        figure = draw(history)
        for sentence in [*written(figure), *table(history).columns]:
            if any(letter.isalpha() for letter in sentence.replace("worker-", "").replace("ms", "")):
                ours = sentence.upper() == sentence
                names = "worker-2" in sentence  # marks carry the names of fault and worker as they are
                assert ours or names or sentence.startswith("worker-") or sentence.endswith(" s"), sentence


class _Shouting:
    """A catalogue that translates every text to capitals."""

    def gettext(self, message: str) -> str:
        parts = message.replace("{", "\0{").replace("}", "}\0").split("\0")
        return "".join(part if part.startswith("{") else part.upper() for part in parts)

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        return self.gettext(singular if n == 1 else plural)


def test_drawing_leaves_global_state_and_imports_no_cluster_code() -> None:
    code = (
        "import sys; from labkit import charts; from labkit.core.history import History; "
        "charts.overview(History()); "
        "print([m for m in ('matplotlib.pyplot', 'zmq', 'redis', 'docker', 'cv2') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert answer.stdout.strip() == "[]", answer.stderr


def test_chart_is_saved_with_its_description_and_shown_in_a_notebook(
    history: History, tmp_path: Path
) -> None:
    figure = charts.overview(history)
    for name, begins in (("overview.png", b"\x89PNG"), ("overview.svg", b"<?xml")):
        figure.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
        assert b"kill worker-2" in (tmp_path / name).read_bytes()
    picture, words = figure._repr_png_()
    assert picture.startswith(b"\x89PNG") and words == {"alt": charts.alt_text(figure)}


# --- colours ------------------------------------------------------------------------------------------------


def test_workers_get_okabe_ito_colours_but_not_the_fault_colour() -> None:
    assert [charts.worker_colour(f"worker-{i}") for i in (1, 2, 3)] == ["#0072b2", "#e69f00", "#009e73"]
    colours = [charts.worker_colour(f"worker-{i}") for i in range(1, 19)]
    assert len(set(colours)) == 18
    assert to_hex(FAULT) not in colours


def test_colour_of_a_name_does_not_depend_on_other_names() -> None:
    for name in ("", "ana", "worker", "worker-0", "trabajador 4", "worker-" + "9" * 50, "\ud800"):
        assert charts.worker_colour(name) == charts.worker_colour(name)
        assert charts.worker_colour(name).startswith("#")


def test_worker_keeps_its_colour_in_every_chart(history: History) -> None:
    orange = charts.worker_colour("worker-2")
    (stack,) = labelled(charts.throughput(history).axes[0], "worker-2")
    assert to_hex(stack.get_facecolor()) == orange
    (bars,) = labelled(charts.gantt(history).axes[0], "_first worker-2")
    assert to_hex(bars.get_facecolor()[0]) == orange
    assert to_hex(charts.share(history).axes[0].patches[1].get_facecolor()) == orange
