"""The demo in a terminal: a display that is redrawn ten times a second.

It shows the steps so far, the table of workers (drawn as ``status --watch`` draws it), the batch, its
throughput over time with the outage marked, and the story. It fits 80 x 24 characters and uses more where
there are more.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labkit.cluster.status_table import Column, table
from labkit.cluster.status_text import STATES
from labkit.core.history import LiveWorker, natural
from labkit.demo.progress import SPARK, Progress, spark
from labkit.demo.story import GOOD, HARM, Line
from labkit.demo.view import View
from labkit.support.i18n import _
from labkit.support.palette import FAULT, GREEN, SKY_BLUE, worker_colour
from labkit.support.text import Spoken

FRAMES_PER_S = 10
CHART_LINES = 4
RECENT_S, RECENT_COLUMNS = 5.0, 15
WIDEST = 100
HARM_STYLE, GOOD_STYLE, DIM = f"bold {FAULT}", GREEN, "dim"
STEP_MARKS = {"done": ("✓ ", "v "), "now": ("· ", "- ")}


class TerminalView(View):
    """See the module's head. It writes to the standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._ascii = self._console.options.ascii_only
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._title = ""
        self._steps: list[tuple[str, float]] = []  # text, seconds
        self._step: tuple[str, int, float] | None = None  # text, total, began
        self._done = 0
        self._lines: list[Line] = []
        self._progress: Progress | None = None
        self._began_at: float | None = None  # of the run, on the history's clock
        self._drawn_at = 0.0
        self._complete = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._complete = True
        self._live.update(self._display())
        self._live.stop()  # it draws once more, and may need more lines than the terminal has

    # --- what the demo reports ------------------------------------------------------------------------------

    def title(self, text: str) -> None:
        """Show the title."""
        self._title = text
        self._draw()

    def step(self, text: str, total: int = 0) -> None:
        """Show that a step begins."""
        self._step = text, total, time.monotonic()
        self._done = 0
        self._draw()

    def advance(self, done: int) -> None:
        """Show how far the step is."""
        self._done = done
        self._draw_soon()

    def step_done(self, text: str) -> None:
        """Show the result of the step, and how long it took."""
        began = self._step[2] if self._step else time.monotonic()
        self._steps.append((text, time.monotonic() - began))
        self._step = None
        self._draw()

    def warn(self, text: str) -> None:
        """Print the warning above the display, where it stays."""
        # The terminal wraps it: rich would break the path of a file in two.
        self._console.print(Text(text, HARM_STYLE), soft_wrap=True)

    def tell(self, line: Line) -> None:
        """Add a sentence to the story."""
        self._lines.append(line)
        self._draw()

    def begin(self, progress: Progress) -> None:
        """Show the cluster from now on."""
        self._progress = progress
        self._draw()

    def update(self, progress: Progress) -> None:
        """Show how the run goes on."""
        self._draw_soon()

    def end(self, progress: Progress) -> None:
        """Show how the run ended."""
        self._draw()

    # --- the display ----------------------------------------------------------------------------------------

    def _draw_soon(self) -> None:
        if time.monotonic() - self._drawn_at >= 1 / FRAMES_PER_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._live.update(self._display(), refresh=True)

    @property
    def _width(self) -> int:
        return min(self._console.width, WIDEST)

    def _display(self) -> RenderableType:
        parts: list[RenderableType] = [Text(self._title, style="bold"), Text()]
        parts += [self._step_line("done", text, seconds) for text, seconds in self._steps]
        if self._step is not None:
            text, total, began = self._step
            counted = f"{text}  {self._bar(self._done, total, 24)} {self._done}/{total}" if total else text
            parts.append(self._step_line("now", counted, time.monotonic() - began))
        if self._progress is not None:
            cluster = [Text(), self._workers(self._progress), Text(), *self._batch(self._progress)]
            parts += cluster
            used = 4 + len(self._steps) + len(self._progress.workers) + len(cluster)
            room = len(self._lines) if self._complete else max(3, self._console.height - used - 1)
            parts += [Text(), *self._story(room)]
        return Group(*parts)

    def _step_line(self, state: str, text: str, seconds: float) -> RenderableType:
        mark = STEP_MARKS[state][self._ascii]
        line = Table.grid(expand=False)
        line.add_column(width=2)
        line.add_column(width=self._width - 11, no_wrap=True, overflow="ellipsis")
        line.add_column(width=9, justify="right")
        line.add_row(
            Text(mark, GOOD_STYLE if state == "done" else "bold"),
            Text(text),
            Text(_("{t:.1f} s").format(t=Spoken(seconds)), DIM),
        )
        return line

    def _workers(self, progress: Progress) -> RenderableType:
        columns = [
            Column(_("worker")),
            Column(_("what it does"), "stretches"),
            Column(_("in flight"), "number", 2),
            Column(_("completed"), "number", 4),
            Column(_("share"), "number", 3),
            Column(_("per s"), "number", 5),
            Column(_("the last 5 s"), importance=1, min_width=RECENT_COLUMNS),
        ]
        names = sorted(progress.workers, key=natural)
        rows = [self._worker_row(progress.workers[name], progress) for name in names]
        return table(columns, rows, self._width, DIM)

    def _worker_row(self, worker: LiveWorker, progress: Progress) -> list[Text]:
        colour = worker_colour(worker.name)
        share = worker.done / progress.done if progress.done else 0.0
        counts = progress.recent(worker.name, RECENT_COLUMNS, RECENT_S / RECENT_COLUMNS)
        return [
            Text(worker.name, f"bold {colour}"),
            self._doing(worker, progress),
            Text(str(len(worker.held))),
            Text(str(worker.done)),
            Text(f"{100 * share:.0f} %"),
            Text(f"{progress.per_s(worker.name):.0f}"),
            Text(spark(counts, max(*counts, 6), self._marks), colour),
        ]

    def _doing(self, worker: LiveWorker, progress: Progress) -> Text:
        if worker.fault == "start":
            return Text(_("starting"), STATES["absent"].terminal)
        if worker.fault == "kill":
            ago_s = progress.live.latest_at - worker.fault_at
            return Text(_("killed {seconds:.1f} s ago").format(seconds=Spoken(ago_s)), HARM_STYLE)
        if worker.state != "ready":
            state = STATES.get(worker.state, STATES["absent"])
            return Text(state.word, state.terminal)
        task = worker.computing or next(iter(worker.held), "")
        return Text(progress.tasks[task]) if task else Text(STATES["ready"].word, DIM)

    def _batch(self, progress: Progress) -> list[RenderableType]:
        total = len(progress.tasks)
        numbers = _("{done} of {total} done, {waiting} waiting, {rate:.0f} per s").format(
            done=progress.done, total=total, waiting=progress.waiting, rate=progress.per_s()
        )
        bar = self._bar(progress.done, total, max(10, self._width - len(numbers) - 2))
        return [Text.assemble((bar, GREEN), "  ", numbers), *self._chart(progress)]

    def _chart(self, progress: Progress) -> list[RenderableType]:
        """Draw results per second over time, as wide as the terminal; outages in the colour of faults."""
        began = progress.began
        columns = self._width - 8
        column_s, counts = progress.results(columns)
        # Single columns show only noise: each is the mean of itself and its neighbours.
        rates = [_mean(counts[max(0, i - 2) : i + 3]) / column_s for i in range(len(counts))]
        top = max([*rates, 1.0])
        down = progress.outages()
        lines: list[RenderableType] = []
        levels = len(self._marks)
        for row in range(CHART_LINES, 0, -1):
            label = {CHART_LINES: f"{top:.0f}/s", 1: "0"}.get(row, "")
            line = Text()
            line.append(f"{label:>6}  ", DIM)
            for i, rate in enumerate(rates):
                level = round(rate / top * CHART_LINES * levels) - (row - 1) * levels
                mark = " " if level <= 0 else self._marks[min(level, levels) - 1]
                at = began + (i + 0.5) * column_s
                is_down = any(begin <= at < end for begin, end in down)
                line.append(mark, FAULT if is_down else SKY_BLUE)
            lines.append(line)
        lines.append(self._marks_below(progress, began, column_s, columns))
        return lines

    def _marks_below(self, progress: Progress, began: float, column_s: float, columns: int) -> Text:
        """Name each fault below the instant in the chart at which it was done."""
        line = Text(" " * 8)
        for at, fault, worker in progress.faults():
            text = f"{'^' if self._ascii else '▲'} {fault} {worker}"
            column = 8 + min(int((at - began) / column_s), columns - len(text))
            line.append(" " * max(1, column - len(line)))
            line.append(text, HARM_STYLE if fault == "kill" else DIM)
        return line

    def _story(self, room: int) -> list[RenderableType]:
        styles = {HARM: HARM_STYLE, GOOD: GOOD_STYLE}
        lines: list[RenderableType] = []
        for line in self._lines[-room:] if room else []:
            when = " " * 9 if line.t is None else _("{t:7.2f} s").format(t=line.t)
            text = Text(no_wrap=not self._complete, overflow="ellipsis")
            text.append(f"{when}  ", DIM)
            text.append(line.text, styles.get(line.mood, ""))
            lines.append(text)
        return lines

    # --- small parts ----------------------------------------------------------------------------------------

    @property
    def _marks(self) -> str:
        return ".:-=+*%#" if self._ascii else SPARK

    def _bar(self, done: int, total: int, width: int) -> str:
        filled = round(width * done / total) if total else 0
        full, empty = ("#", ".") if self._ascii else ("━", "─")
        return full * filled + empty * (width - filled)


def _mean(counts: list[int]) -> float:
    return sum(counts) / len(counts)
