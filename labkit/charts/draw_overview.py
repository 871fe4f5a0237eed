"""One page for a whole run: throughput, attempts, recovery, and shares."""

from __future__ import annotations

from labkit.charts import draw_gantt, draw_recovery, draw_share, draw_throughput, style
from labkit.charts.marks import marks_height, marks_of, view_of
from labkit.charts.style import MARGIN, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History, Recovery
from labkit.support.i18n import _, ngettext
from labkit.support.palette import INK
from labkit.support.text import seconds

HEADLINE = 0.42
THROUGHPUT = 2.4
HIGHEST_GANTT = 5.0
BELOW = 1.7
"""Height of the recovery, and of the shares below it, in inches."""


def overview(history: History) -> Chart:
    """Return one figure with throughput and attempts on one time axis, the recovery and the shares below.

    With several faults it shows the recovery of the first one that interrupted tasks, and the shares before
    it, which should be equal.
    """
    view = view_of(history)
    samples = draw_throughput.samples_of(history, view)
    bars = draw_gantt.bars_of(history)
    left = max(draw_throughput.NUMBERS, draw_gantt.names_width(history))
    width = WIDTH - left - MARGIN
    names = style.TITLE_SPACE + marks_height(marks_of(history), view, width)
    gantt_height = draw_gantt.rows_height(history, HIGHEST_GANTT)

    throughput_top = HEADLINE + names
    gantt_top = throughput_top + THROUGHPUT + draw_throughput.height_below(history, samples, width) + names
    below_top = gantt_top + gantt_height + draw_gantt.height_below(history, bars, width) + style.TITLE_SPACE
    below_top += draw_share.EQUAL
    each = BELOW + style.AXIS_SPACE + style.TITLE_SPACE + draw_share.EQUAL
    chart = style.new_chart(below_top + each + BELOW + style.AXIS_SPACE + MARGIN)

    above = style.place(chart, left, throughput_top, width, THROUGHPUT)
    draw_throughput.draw_throughput(above, history, view, samples)
    draw_gantt.draw_gantt(style.place(chart, left, gantt_top, width, gantt_height), history, view, bars)
    _draw_below(chart, history, below_top, below_top + each)

    headline = _headline(history)
    chart.text(
        MARGIN / WIDTH, 1 - 0.1 / chart.get_size_inches()[1], headline, fontsize=14, color=INK, va="top"
    )
    chart.labkit_alt = " ".join([f"{headline}.", *map(draw_recovery.in_words, history.recoveries())])
    return chart


def _draw_below(chart: Chart, history: History, top: float, shares_top: float) -> None:
    """Draw the recovery, and the shares below it: side by side their texts would have to be tiny."""
    chain = _main(history)
    left = draw_share.names_width(history)
    shares = style.place(chart, left, shares_top, WIDTH - left - MARGIN, BELOW)
    if chain is None:
        left = draw_throughput.NUMBERS
        draw_recovery.draw_nothing(style.place(chart, left, top, WIDTH - left - MARGIN, BELOW))
        draw_share.draw_share(shares, history, title=_("Results per worker"))
        return
    left = draw_recovery.names_width()
    draw_recovery.draw_recovery(style.place(chart, left, top, WIDTH - left - MARGIN, BELOW), chain)
    title = _("Results before the fault") if chain.fault else _("Results before the loss")
    draw_share.draw_share(shares, history, until=chain.began_at, title=title)


def overview_table(history: History) -> Table:
    """Return the run's numbers, one per row: name and value."""
    ledger = history.ledger()
    counts = history.counts()
    rows: list[tuple[object, ...]] = [
        (_("tasks submitted"), len(ledger)),
        (_("results delivered"), sum(row.outcome == "done" for row in ledger)),
        (_("tasks failed"), sum(row.outcome == "failed" for row in ledger)),
        (_("tasks cancelled"), sum(row.outcome == "cancelled" for row in ledger)),
        (_("tasks still open"), sum(row.outcome == "" for row in ledger)),
        (_("attempts requeued"), counts.get("requeued", 0)),
        (_("late results dropped"), counts.get("duplicate", 0)),
        (_("workers"), len(history.slots())),
        (_("seconds of work"), sum(end - begin for begin, end in history.busy())),
    ]
    for chain in history.recoveries():
        what = draw_recovery.title_of(chain)
        rows.append((_("{what}: first result elsewhere after (s)").format(what=what), chain.recovery_s))
        rows.append((_("{what}: throughput back after (s)").format(what=what), chain.restored_s))
    return Table((_("what"), _("how much")), rows)


def _main(history: History) -> Recovery | None:
    chains = history.recoveries()
    return next((chain for chain in chains if chain.held), chains[0] if chains else None)


def _headline(history: History) -> str:
    ledger = history.ledger()
    if not ledger:
        return _("No task was submitted")
    workers = len(history.slots())
    return _("{done} of {tasks} done by {workers} in {busy}").format(
        done=sum(row.outcome == "done" for row in ledger),
        tasks=ngettext("{n} task", "{n} tasks", len(ledger)).format(n=len(ledger)),
        workers=ngettext("{n} worker", "{n} workers", workers).format(n=workers),
        busy=seconds(sum(end - begin for begin, end in history.busy())),
    )
