"""``practice league``: policies compete, and a table shows in which order they end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.commands import UsageError
from labkit.core.errors import N_
from labkit.support.i18n import _, translate_error
from labkit.support.text import Spoken

if TYPE_CHECKING:
    from labkit.practice.league import Standing
    from labkit.practice.session import Practice


def league(practice: Practice, options: argparse.Namespace) -> int:
    """Play the league with the files named, or with the learner's own policies; print the table."""
    from labkit.practice import league as contest

    files = [Path(name).expanduser() for name in options.files]
    if not files:
        own = [practice.workspace.file(practice.find(name)) for name in ("own-policy", "least-busy")]
        files = [file for file in own if file.exists()]
    standings = contest.play(contest.entries(files))
    if options.json:
        output.as_json([one.as_json() for one in standings])
    if options.chart is not None:
        _draw(standings, Path(options.chart).expanduser())
    if options.json:
        return 0
    _show_league(standings)
    if reason := contest.why(standings):
        output.line()
        output.line(_(reason[0]).format(**reason[1]))
    if options.chart is not None:
        output.line(_("The chart is in {file}").format(file=options.chart))
    output.next_steps(("practice start own-policy", _("write a policy of your own")))
    return 0


def _show_league(standings: list[Standing]) -> None:
    """Print a table; where the terminal is too narrow for it, two lines for each policy."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    titles = (_("makespan"), _("wait (p95)"), _("fairness"), _("done twice"), _("violations"))
    playing = [(one.name, _figures(one)) for one in standings if one.failure is None]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column(_("policy"), no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for place, (name, figures) in enumerate(playing, 1):
        table.add_row(str(place), name, *figures)
    width = Console(width=1000).measure(table).maximum
    if width <= console.width or not console.is_terminal:
        Console(width=width, highlight=False).print(table)
    else:
        for place, (name, figures) in enumerate(playing, 1):
            console.print(f"{place} {name}", style="bold", markup=False)
            said = [f"{title} {figure}" for title, figure in zip(titles, figures, strict=True)]
            console.print("  " + " · ".join(said), markup=False)
    for one in standings:
        if one.failure is not None:
            text = _("out of the league: {name}: {failure}")
            output.line(text.format(name=one.name, failure=translate_error(one.failure)))


def _figures(one: Standing) -> tuple[str, ...]:
    if not one.makespan_s:  # nothing was ever done
        return ("–",) * 4 + (str(one.violations),)
    return (
        f"{Spoken(one.makespan_s):.2f} s",
        f"{Spoken(one.waiting_p95_s):.2f} s",
        f"{Spoken(one.fairness):.2f}",
        f"{Spoken(one.wasted_s):.1f} s",
        str(one.violations),
    )


def _draw(standings: list[Standing], file: Path) -> None:
    """Write the chart of the policies that played, as a .png or .svg file."""
    if file.suffix.lower() not in (".png", ".svg"):
        raise UsageError(N_("{file}: a chart is a .png or an .svg file"), file=file)
    from labkit import charts

    rows = [
        charts.Ranked(one.name, one.makespan_s, one.waiting_p95_s, one.fairness, one.wasted_s, one.violations)
        for one in standings
        if one.failure is None
    ]
    charts.league(rows).save(file)
