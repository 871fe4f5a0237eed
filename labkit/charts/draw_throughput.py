"""Throughput over time: results per second, stacked by worker, with the faults and the 95 % line."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit.charts import style
from labkit.charts.marks import View, draw_marks, in_words, marks_height, marks_of, merged, outages, view_of
from labkit.charts.style import MARGIN, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History, Recovery, Sample, natural
from labkit.core.history.recovery import RESTORED
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, GRID, INK, worker_colour
from labkit.support.text import seconds

MAX_WORKERS_NAMED = 10
"""With more workers, only their sum is drawn."""
NUMBERS = 0.75
"""Inches for the axis label and the numbers on the left."""


def throughput(history: History, window_s: float | None = None) -> Chart:
    """Return the chart of results per second in windows of about ``window_s`` seconds.

    None chooses windows with about nine results each, so that one more or less does not look like a peak. A
    short run has fewer per window, so that there are ten windows.
    """
    view = view_of(history)
    samples = samples_of(history, view, window_s)
    width = WIDTH - NUMBERS - MARGIN
    above = style.TITLE_SPACE + marks_height(marks_of(history), view, width)
    below = height_below(history, samples, width)
    chart = style.new_chart(above + 2.9 + below)
    draw_throughput(style.place(chart, NUMBERS, above, width, 2.9), history, view, samples)
    chart.labkit_alt = _describe(history, samples)
    return chart


def throughput_table(history: History, window_s: float | None = None) -> Table:
    """Return the chart's numbers: per window begin, end (s), results, results per second, and per worker."""
    samples = samples_of(history, view_of(history), window_s)
    workers = _workers(samples)
    columns = (_("from (s)"), _("to (s)"), _("results"), _("results/s"), *workers)
    return Table(
        columns,
        [
            (s.start, s.end, s.done, s.per_s, *(s.by_worker.get(worker, 0) for worker in workers))
            for s in samples
        ],
    )


def samples_of(history: History, view: View, window_s: float | None = None) -> list[Sample]:
    """Return the windows to draw."""
    span = view.end - view.begin
    if window_s is None:
        results = history.counts().get("done", 0)
        per_window = min(9.0, max(results / 10, 3.0))
        window_s = max(span / 60, span * per_window / max(results, 1))
    return history.throughput(window_s, view.begin, view.end) if window_s > 0 else []


def _workers(samples: list[Sample]) -> list[str]:
    return sorted({worker for sample in samples for worker in sample.by_worker}, key=natural)


def height_below(history: History, samples: list[Sample], width: float) -> float:
    """Return how many inches axis and legend need below axes ``width`` inches wide."""
    workers = _workers(samples)
    labels = [style.shortened(worker) for worker in workers]
    if len(workers) > MAX_WORKERS_NAMED:
        labels = [_sum_label(workers)]
    chains = _fallen(history)
    if chains:
        labels = [*labels, _usual_label(chains), _("throughput back")]
    lines = style.legend_shape(labels, width)[1]
    return style.AXIS_SPACE + style.LEGEND_LINE * lines + MARGIN


def draw_throughput(axes: Axes, history: History, view: View, samples: list[Sample]) -> None:
    """Draw the chart into axes whose time axis is ``view``."""
    title = _("Throughput")
    if samples:
        width = seconds(samples[0].end - samples[0].start)
        title = _("Throughput, counted in windows of {width}").format(width=width)
    marks = marks_of(history)
    style.dress(
        axes,
        title,
        _("seconds since the first event"),
        _("results per second"),
        above=marks_height(marks, view, style.size_of(axes)[0]),
    )
    axes.set_xlim(view.since, view.until)
    if not any(sample.done for sample in samples):
        style.write_empty(axes, _("no result was delivered"))
    else:
        _stack(axes, samples)
        _usual(axes, history, view)
        highest = max(sample.per_s for sample in samples)
        usual = max([chain.usual_per_s or 0.0 for chain in history.recoveries()], default=0.0)
        axes.set_ylim(0, max(highest, usual) * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
    for begin, end in merged(span for spans in outages(history).values() for span in spans):
        end = min(end, view.until)
        axes.axvspan(begin, end, color=FAULT, alpha=0.13, linewidth=0, label="_outage", zorder=0.5)
    draw_marks(axes, marks, view)
    style.legend_below(axes, *axes.get_legend_handles_labels())


def _stack(axes: Axes, samples: list[Sample]) -> None:
    edges = [samples[0].start, *(sample.end for sample in samples)]
    sums = [sample.per_s for sample in samples]
    workers = _workers(samples)
    if len(workers) <= MAX_WORKERS_NAMED:
        below = [0.0] * len(samples)
        for worker, name in zip(workers, map(style.shortened, workers), strict=True):
            rates = [sample.by_worker.get(worker, 0) / (sample.end - sample.start) for sample in samples]
            top = [base + rate for base, rate in zip(below, rates, strict=True)]
            axes.stairs(top, edges, baseline=below, fill=True, color=worker_colour(worker), label=name)
            below = top
    else:
        axes.stairs(sums, edges, fill=True, color="#B3B3B3", label=_sum_label(workers))
    axes.stairs(sums, edges, color=INK, linewidth=1.2, label="_sum")


def _sum_label(workers: list[str]) -> str:
    return ngettext("{n} worker", "{n} workers", len(workers)).format(n=len(workers))


def _usual_label(chains: list[Recovery]) -> str:
    if len(chains) > 1:
        return _("95 % of the rate before the fault")
    return _("95 % of the rate before the fault ({rate:.0f}/s)").format(rate=chains[0].usual_per_s or 0.0)


def _fallen(history: History) -> list[Recovery]:
    """Return the recoveries whose faults measurably reduced throughput."""
    return [c for c in history.recoveries() if c.usual_per_s and c.restored_at != c.began_at]


def _usual(axes: Axes, history: History, view: View) -> None:
    """Draw 95 % of the rate before each fault, and the instant at which it was reached again."""
    chains = _fallen(history)
    line_label, back_label = (_usual_label(chains) if chains else ""), _("throughput back")
    for chain in chains:
        usual = chain.usual_per_s or 0.0
        end = view.until if chain.restored_at is None else chain.restored_at
        for width, colour, label in ((3.2, "white", "_halo"), (1.8, INK, line_label)):
            axes.plot(
                [chain.began_at, end],
                [RESTORED * usual] * 2,
                color=colour,
                linewidth=width,
                linestyle="-" if label == "_halo" else (0, (1, 1)),
                label=label,
                zorder=5,
            )
        line_label = "_usual"  # named once
        if chain.restored_at is not None:
            axes.plot(
                [chain.restored_at],
                [RESTORED * usual],
                linestyle="none",
                marker="o",
                markersize=8,
                markerfacecolor="white",
                markeredgecolor=INK,
                markeredgewidth=1.8,
                label=back_label,
                zorder=6,
            )
            back_label = "_back"


def _describe(history: History, samples: list[Sample]) -> str:
    if not any(sample.done for sample in samples):
        text = _("Throughput over time: no result was delivered.")
    else:
        done = sum(sample.done for sample in samples)
        text = ngettext(
            "Throughput over time: {done} result in {span}; median {usual:.0f}/s, at most {peak:.0f}/s.",
            "Throughput over time: {done} results in {span}; median {usual:.0f}/s, at most {peak:.0f}/s.",
            done,
        ).format(
            done=done,
            span=seconds(samples[-1].end - samples[0].start),
            usual=sorted(sample.per_s for sample in samples)[len(samples) // 2],
            peak=max(sample.per_s for sample in samples),
        )
    return " ".join([text, *in_words(history)])
