"""Each section of a day fits its minutes, counted from the stored notebook."""

from __future__ import annotations

import itertools

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import clock, guide, sources
from notebooks.clock import LOOK_MIN, QUESTION_MIN, WORDS_A_MINUTE, Cost, Said, Section

DAYS = [name for name in sources.names() if name.startswith("day")]


def notebook_of(*cells: NotebookNode, ran_s: list[float] | None = None) -> NotebookNode:
    return new_notebook(cells=list(cells), metadata={"labkit": {"ran_s": ran_s or []}})


def prose(text: str) -> NotebookNode:
    return new_markdown_cell(text)


def code(text: str, *outputs: NotebookNode) -> NotebookNode:
    return new_code_cell(text, outputs=list(outputs))


@pytest.mark.parametrize(("name", "lang"), [*itertools.product(DAYS, sources.LANGUAGES)])
def test_each_section_of_a_day_fits_into_its_minutes(name: str, lang: str) -> None:
    costs = guide.costs(name, lang)
    over = [f"{c.section.title}: {c.total:.1f} of {c.room:.0f} min" for c in costs if c.total > c.room]
    assert not over, "move something to the free hour, or build it on a machine that is less busy"
    assert sum(cost.running for cost in costs) > 0, "it was measured"


def test_words_above_the_first_section_count_to_it() -> None:
    words = " ".join(["word"] * (WORDS_A_MINUTE - 4))
    (cost, other) = clock.costs(
        notebook_of(
            prose("# Title"),
            prose("## One · 0–5 min"),
            prose(words),
            code("cluster.kill(x)"),
            prose("## Two · 5–6 min"),
            prose("## Free\n\n" + words),
            ran_s=[30.0, 6.0, 90.0],
        ),
        [],
    )
    # Title, One, 0, 5 and min; cluster.kill and x
    assert cost.reading == pytest.approx((WORDS_A_MINUTE - 4 + 5 + 2) / WORDS_A_MINUTE)
    assert (cost.running, other.running) == (0.5, 0.1)
    assert (other.section, other.room) == (Section("Two", (5, 6)), 1.0)


def test_figure_table_listing_and_bet_take_a_look_but_one_line_does_not() -> None:
    figure = new_output("display_data", data={"image/png": "aGk=", "text/plain": "a chart"})
    table = new_output("execute_result", data={"text/html": "<table></table>", "text/plain": "a table"})
    listing = new_output("stream", text="def f():\n    x\n    return y\n")
    line = new_output("stream", text="✔ Checkpoint 1: right.\n")
    cells = [
        code("show(chart)", figure, table),
        code("story(x)", table),
        code("source(f)", listing),
        code("lesson.checkpoint(1, True)", line),
        code("guess_one, guess_two = 1, 2"),
        code("guess = {}"),
        code("row = charts.Guessed(name, guess)"),
    ]
    (cost,) = clock.costs(notebook_of(prose("## One · 0–9 min"), *cells), [])
    assert cost.looking == 5 * LOOK_MIN


def test_guide_questions_take_time_except_those_for_spare_time() -> None:
    said = [
        Said("One", "**Say.** So?\n\n**Ask.** Why? And (but why?) when?\n\n**If there is time.** Who?", 0.0),
        Said("One", "**Pregunta.** ¿Por qué?", 1.5),
        Said("Two", "**Ask.** Where?", 0.0),
    ]
    (cost,) = clock.costs(notebook_of(prose("## One · 0–9 min")), said)
    assert cost.talking == 3 * QUESTION_MIN + 1.5


def test_overlong_section_costs_more_than_its_minutes() -> None:
    words = prose(" ".join(["word"] * 10 * WORDS_A_MINUTE))
    (cost,) = clock.costs(notebook_of(prose("## One · 0–9 min"), words), [])
    assert cost.total > cost.room == 9.0
    assert Cost(Section("One", (0, 9)), 1.0, 2.0, 3.0, 4.0).total == 10.0


def test_running_time_is_kept_per_section_and_removed_per_cell() -> None:
    marks = {"iopub.status.busy": "2026-01-01T00:00:00.5Z", "iopub.status.idle": "2026-01-01T00:00:02.0Z"}
    first, second, idle = code("a"), code("b"), code("c")
    first.metadata["execution"], second.metadata["execution"] = marks, marks
    notebook = notebook_of(first, prose("## One · 0–9 min"), second, prose("## Free"), idle)
    clock.note_running(notebook)
    assert notebook.metadata["labkit"]["ran_s"] == [3.0, 0.0]
    assert "execution" not in first.metadata


def test_guide_contains_the_whole_clock_with_its_sum() -> None:
    for lang, word, point in (("es", "suma", ","), ("en", "sum", ".")):
        text = guide.guide_of("day3_distributed", lang)
        total = sum(cost.total for cost in guide.costs("day3_distributed", lang))
        assert text is not None and f"**{word}**" in text
        assert f"{total:.1f}".replace(".", point) + " |" in text
