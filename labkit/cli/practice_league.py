"""``practice league``: policies compete, and a table shows in which order they end."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.support.i18n import _

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
        output.as_json([asdict(one) for one in standings])
        return 0
    _show_league(standings)
    if reason := contest.why(standings):
        output.line()
        output.line(_(reason[0]).format(**reason[1]))
    output.next_steps(("practice start own-policy", _("write a policy of your own")))
    return 0


def _show_league(standings: list[Standing]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column(_("policy"), no_wrap=True)
    for title in (
        _("makespan"), _("wait (p95)"), _("fairness"), _("done twice"), _("violations"),
    ):  # fmt: skip
        table.add_column(title, justify="right")
    for place, one in enumerate(standings, 1):
        if not one.failure:
            table.add_row(
                str(place), one.name, f"{one.makespan_s:.2f} s", f"{one.waiting_p95_s:.2f} s",
                f"{one.fairness:.2f}", f"{one.wasted_s:.1f} s", str(one.violations),
            )  # fmt: skip
    Console(width=max(100, Console().width)).print(table)
    for one in standings:
        if one.failure:
            output.line(_("out of the league: {name}: {failure}").format(name=one.name, failure=one.failure))
