"""The cost of a fault: the chain from the fault to throughput back at 95 %, each link with its seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from labkit.charts import style
from labkit.charts.style import MARGIN, NORMAL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.history import History, Recovery
from labkit.core.history.causes import CLOSED, LEASE, REJOINED, SILENT
from labkit.support.i18n import _, ngettext
from labkit.support.palette import FAULT, GRID, INK, PALE
from labkit.support.text import Spoken, seconds

HEIGHT = 1.7
"""Height of the four rows of a chain in inches."""
MAX_CHAINS = 6
"""Further recoveries are in the table only."""


def recovery(history: History) -> Chart:
    """Return the chart of all recoveries, one chain of bars each, in seconds after the fault."""
    chains = history.recoveries()
    shown = chains[:MAX_CHAINS]
    left = names_width()
    each = style.TITLE_SPACE + HEIGHT + style.AXIS_SPACE
    left_out = len(chains) - len(shown)
    chart = style.new_chart(each * max(len(shown), 1) + MARGIN + (0.2 if left_out else 0.0))
    for i, chain in enumerate(shown):
        top = each * i + style.TITLE_SPACE
        draw_recovery(style.place(chart, left, top, WIDTH - left - MARGIN, HEIGHT), chain)
    if not shown:
        draw_nothing(style.place(chart, MARGIN, style.TITLE_SPACE, WIDTH - 2 * MARGIN, HEIGHT))
    if left_out:
        more = ngettext("{n} more recovery is in the table", "{n} more recoveries are in the table", left_out)
        chart.text(0.5, 0.01, more.format(n=left_out), fontsize=NORMAL, color=PALE, ha="center", va="bottom")
    chart.labkit_alt = " ".join(in_words(chain) for chain in chains) or _(
        "No fault and no loss was recorded."
    )
    return chart


def recovery_table(history: History) -> Table:
    """Return the chart's numbers, a row per recovery; all times in seconds, None where a link is missing."""
    columns = (
        _("fault"),
        _("target"),
        _("at (s)"),
        _("detected after (s)"),
        _("requeued after (s)"),
        _("first result elsewhere after (s)"),
        _("back at 95 % after (s)"),
        _("tasks held"),
        _("tasks lost"),
    )
    rows: list[tuple[object, ...]] = []
    for chain in history.recoveries():
        after = [
            None if at is None else at - chain.began_at
            for at in (
                chain.detected_at,
                chain.requeued_at,
                chain.first_result_elsewhere_at,
                chain.restored_at,
            )
        ]
        fault = chain.fault or _what_happened(chain)
        rows.append((fault, chain.target, chain.began_at, *after, len(chain.held), len(chain.lost)))
    return Table(columns, rows)


class Link(NamedTuple):
    """One link of the chain: begin and end in seconds after the fault, or the reason why it is missing."""

    name: str
    begin: float
    end: float | None
    missing: str


def link_names() -> tuple[str, ...]:
    """Return the names of the links of a chain, wherever it is shown."""
    return _("detected"), _("requeued"), _("first result elsewhere"), _("throughput back at 95 %")


def names_width() -> float:
    """Return how many inches the links' names need at the left."""
    return style.widest(link_names(), NORMAL) + 0.12 + MARGIN


def links_of(chain: Recovery) -> list[Link]:
    """Return the chain's four links as they are drawn, top to bottom."""
    names = link_names()
    ends = (chain.detected_at, chain.requeued_at, chain.first_result_elsewhere_at, chain.restored_at)
    reasons = (_("no worker was declared lost"), *_without_requeue(chain), _without_restoration(chain))
    links, begin = [], 0.0
    for name, at, reason in zip(names, ends, reasons, strict=True):
        end = None if at is None else at - chain.began_at
        if at is chain.restored_at and end == 0.0:
            end = None  # a bar of length 0 would look like a recovery
        links.append(Link(name, begin, end, reason))
        begin = begin if end is None else end
    return links


def _without_requeue(chain: Recovery) -> tuple[str, str]:
    """Return the reasons why nothing was requeued and why there was no result elsewhere."""
    if chain.detected_at is None:
        return (_("nothing to requeue"),) * 2
    if not chain.held:
        return (_("it held no task"),) * 2
    return _("not requeued"), _("no later attempt delivered a result")


def _without_restoration(chain: Recovery) -> str:
    reasons = {
        "": _("it did not fall noticeably"),
        "few_before": _("cannot be said: too few results before the fault"),
        "few_after": _("cannot be said: too little work was left after it"),
        "never": _("not before the work ran out"),
    }
    return reasons[chain.unrestored]


def title_of(chain: Recovery) -> str:
    """Return the title of a chain: fault, target and time."""
    if chain.fault:
        what = _("{fault} {target} at {at:.2f} s")
    elif chain.target == "broker":
        what = (
            _("{target} stopped, next one at {at:.2f} s") if chain.cause else _("new {target} at {at:.2f} s")
        )
    elif chain.cause in (CLOSED, ""):
        what = _("{target} lost at {at:.2f} s, not on purpose")
    else:
        what = _("{target} lost at {at:.2f} s: {cause}")
    at = Spoken(chain.began_at)
    return what.format(fault=chain.fault, target=chain.target, at=at, cause=_what_happened(chain))


def _what_happened(chain: Recovery) -> str:
    """Return the cause of a loss that no command in the history explains, in a word or two."""
    if chain.target == "broker":
        return _("stop") if chain.cause else _("crash")
    words = {SILENT: _("silence"), LEASE: _("hang"), REJOINED: _("new hello")}
    return words.get(chain.cause, _("crash"))


def draw_recovery(axes: Axes, chain: Recovery, above: float = 0.0) -> None:
    """Draw one chain into axes, its title ``above`` inches over them: a row per link, one after the other."""
    links = links_of(chain)
    x_label = _("seconds after the fault") if chain.fault else _("seconds after its detection")
    style.dress(axes, title_of(chain), x_label, above=above)
    words = [_words(link) for link in links]
    longest = max((link.end for link in links if link.end is not None), default=0.0) or 1.0
    axes.set_xlim(-0.012 * longest, _until(axes, links, words, longest))
    axes.set_ylim(len(links) - 0.4, -0.6)
    axes.set_yticks(range(len(links)), [link.name for link in links])
    axes.tick_params(axis="y", length=0, labelsize=NORMAL)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.axvline(0, color=FAULT, linewidth=2.0, label="_fault")
    for row, (link, text) in enumerate(zip(links, words, strict=True)):
        if link.end is None:
            _write(axes, text, 0.0, row)
            continue
        axes.barh(row, link.end - link.begin, left=link.begin, height=0.55, color=FAULT, alpha=0.75)
        axes.plot([link.end, link.end], [row - 0.36, row + 0.36], color=INK, linewidth=2.0, label="_instant")
        _write(axes, text, link.end, row, fontweight="bold", color=INK)


def _write(axes: Axes, text: str, x: float, row: int, color: str = PALE, fontweight: str = "normal") -> None:
    """Write to the right of ``x``, in a smaller font if necessary."""
    width = style.inches(text, NORMAL, bold=fontweight == "bold")
    axes.annotate(
        text,
        (x, row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=NORMAL * min(1.0, (style.size_of(axes)[0] - 0.15) / width) if x == 0.0 else NORMAL,
        fontweight=fontweight,
        color=color,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )


def _until(axes: Axes, links: Sequence[Link], words: Sequence[str], longest: float) -> float:
    """Return the end of the time axis that leaves room for the text to the right of the bars."""
    width = style.size_of(axes)[0]
    until = longest * 1.05
    for link, text in zip(links, words, strict=True):
        if link.end is not None:
            room = max(width - style.inches(text, NORMAL, bold=True) - 0.25, width / 4)
            until = max(until, link.end * width / room)
    return until


def _words(link: Link) -> str:
    """Return a link's own seconds and the sum so far, or the reason why there are none."""
    if link.end is None:
        return link.missing
    own = link.end - link.begin
    if link.begin < 0.00005:
        return seconds(own)
    return _("+ {own} = {total}").format(own=seconds(own), total=seconds(link.end))


def draw_nothing(axes: Axes, above: float = 0.0) -> None:
    """Draw axes that state that there was no fault."""
    style.dress(axes, _("Recovery"), _("seconds after the fault"), above=above)
    style.write_empty(axes, _("no fault and no loss was recorded"))
    axes.set_xticks([])


def in_words(chain: Recovery) -> str:
    """Return the chain as a sentence."""
    parts: Sequence[str] = [
        f"{link.name}: {link.missing}"
        if link.end is None
        else _("{what} after {after}").format(what=link.name, after=seconds(link.end))
        for link in links_of(chain)
    ]
    return f"{title_of(chain)}: {'; '.join(parts)}."
