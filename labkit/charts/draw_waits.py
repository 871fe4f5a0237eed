"""How long tasks waited, one dot each, one row per history: what a policy does for those behind a long task.

A task's wait is all of its time that its worker did not spend on computing it: in the queue, on the way, and
at its worker behind another task.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from labkit.charts import style
from labkit.charts.draw_guess import checked_guess, is_starting
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History, natural
from labkit.support.i18n import _, ngettext
from labkit.support.palette import GRID, INK, PALE, worker_colour
from labkit.support.text import Spoken, seconds
from labkit.support.timing import Timing

ROW = 1.05
"""Height of a row in inches."""
LONG_S = 0.1
"""Waits above this count as long."""
SPREAD = 0.5
"""The part of a row over which dots are spread, so that they stay distinguishable."""
GUESS: dict[str, Any] = {"color": PALE, "linestyle": (0, (4, 2)), "linewidth": 1.8}
"""Style of a guess, as in the other charts: pale and dashed."""


class Wait(NamedTuple):
    """One task with a result."""

    wait_s: float
    compute_s: float
    worker: str


def waits_of(history: History) -> list[Wait]:
    """Return the waits of all tasks with a result, in order of submission."""
    return [
        Wait(max(0.0, row.total_s - row.compute_s), row.compute_s, row.winner)
        for row in history.ledger()
        if row.outcome == "done" and row.total_s is not None and row.compute_s is not None
    ]


def longest_wait(history: History) -> Timing:
    """Return the longest wait of a history's tasks as a measurement of one run; 0 s without tasks."""
    return Timing((max((wait.wait_s for wait in waits_of(history)), default=0.0),))


def waits(histories: Mapping[str, History], guesses: Mapping[str, float] | None = None) -> Chart:
    """Return the chart of how long tasks waited; ``histories`` by name, such as a policy's.

    ``guesses`` holds guesses of the longest wait (s) by the same names; each is marked in its row.
    """
    rows = [(name, waits_of(history)) for name, history in histories.items()]
    guessed = {name: checked_guess(guess) for name, guess in (guesses or {}).items() if name in histories}
    left = min(style.widest([name for name, _w in rows]), style.LONGEST_NAME) + 0.12 + MARGIN
    workers = sorted({wait.worker for _n, of in rows for wait in of}, key=natural)
    width = WIDTH - left - MARGIN
    shown = [style.shortened(name) for name in workers] + [_guess_name(guessed)] * bool(guessed)
    below = style.AXIS_SPACE + style.LEGEND_LINE * style.legend_shape(shown, width)[1] + MARGIN
    height = ROW * max(len(rows), 1)
    chart = style.new_chart(style.TITLE_SPACE + height + below)
    axes = style.place(chart, left, style.TITLE_SPACE, width, height)
    style.dress(axes, _("How long each task waited"), _("seconds of waiting"))
    chart.labkit_alt = " ".join(
        [
            _("How long each task waited."),
            *(f"{name}: {_with_guess(name, of, guessed)}." for name, of in rows),
        ]
    )
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if not workers:
        style.write_empty(axes, _("no task has a result"))
        axes.set_xticks([])
        return chart
    most = max([wait.wait_s for _n, of in rows for wait in of] + list(guessed.values())) or 0.01
    axes.set_xlim(-0.02 * most, most * 1.06)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    for number, (name, of) in enumerate(rows):
        _draw(axes, number, of)
        if name in guessed:
            y = [number - 0.2, number + 0.42]
            axes.plot([guessed[name]] * 2, y, label=f"_guess_{name}", **GUESS)
    axes.set_yticks(range(len(rows)), [style.shortened(name) for name, _w in rows], parse_math=False)
    axes.tick_params(axis="y", length=0)
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(sorted(zip(labels, handles, strict=True), key=lambda item: natural(item[0])))
    if guessed:
        by_label[shown[-1]] = Line2D([], [], **GUESS)
    style.legend_below(axes, list(by_label.values()), list(by_label))
    return chart


def waits_table(histories: Mapping[str, History], guesses: Mapping[str, float] | None = None) -> Table:
    """Return the chart's numbers, a row per history: tasks, median, 90 % and longest wait (s), long ones.

    With ``guesses``, as for `waits`, there is one more column.
    """
    columns: tuple[str, ...] = (
        _("what"),
        _("tasks"),
        _("median wait (s)"),
        _("90 % wait at most (s)"),
        _("longest wait (s)"),
        _("waited over {t:g} s").format(t=Spoken(LONG_S)),
    )
    rows: list[tuple[object, ...]] = []
    for name, history in histories.items():
        found = sorted(wait.wait_s for wait in waits_of(history))
        if found:
            tenth = found[min(len(found) - 1, int(0.9 * len(found)))]
            rows.append((name, len(found), median(found), tenth, found[-1], sum(t > LONG_S for t in found)))
        else:
            rows.append((name, 0, None, None, None, 0))
    if guesses is not None:
        columns = (*columns, f"{_guess_name(guesses)} (s)")
        rows = [(*row, guesses.get(str(row[0]))) for row in rows]
    return Table(columns, rows)


def _draw(axes: Axes, row: int, of: list[Wait]) -> None:
    dots: dict[str, list[tuple[float, float]]] = {}
    for number, wait in enumerate(of):
        # The golden ratio spreads neighbours apart, and the same run is always drawn the same.
        y = row + 0.1 + SPREAD * ((number * 0.618034) % 1 - 0.5)
        dots.setdefault(wait.worker, []).append((wait.wait_s, y))
    for worker, places in dots.items():
        axes.plot(
            [x for x, _y in places],
            [y for _x, y in places],
            linestyle="none",
            marker="o",
            markersize=7,
            markerfacecolor=worker_colour(worker),
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=style.shortened(worker),
            zorder=3,
        )
    if of:
        axes.annotate(
            _sentence(of),
            (0, row - 0.36),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
        )
        axes.axhline(row + 0.5, color=PALE, linewidth=0.6, label="_between")


def _with_guess(name: str, of: list[Wait], guessed: Mapping[str, float]) -> str:
    if name not in guessed:
        return _sentence(of)
    text = _("starting bet: {time}") if is_starting([guessed[name]]) else _("your guess: {time}")
    return f"{_sentence(of)}; " + text.format(time=seconds(guessed[name]))


def _guess_name(guessed: Mapping[str, float]) -> str:
    return (
        _("starting bet of the longest") if is_starting(guessed.values()) else _("your guess of the longest")
    )


def _sentence(of: list[Wait]) -> str:
    if not of:
        return _("no task has a result")
    found = [wait.wait_s for wait in of]
    late = sum(t > LONG_S for t in found)
    text = ngettext(
        "{n} task: median wait {median}, longest {longest}; {late} waited over {limit}",
        "{n} tasks: median wait {median}, longest {longest}; {late} waited over {limit}",
        len(found),
    )
    return text.format(
        n=len(found),
        median=seconds(median(found)),
        longest=seconds(max(found)),
        late=late,
        limit=seconds(LONG_S),
    )
