"""The last screen of a demo: the targets as measured, the recovery's links, and where the files are."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labkit.core.history import Recovery
from labkit.demo.run import VICTIM, Ran
from labkit.demo.story import recovery_of
from labkit.demo.targets import Target, chain_in_words
from labkit.support.i18n import _
from labkit.support.palette import FAULT, GREEN

PIPED_WIDTH = 120
WIDEST = 110


def print_verdict(
    targets: list[Target], ran: Ran, report: dict[str, Any], out: Path, has_replaced: bool
) -> None:
    """Print it to the standard output. ``has_replaced``: files of an earlier run were in the folder."""
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else PIPED_WIDTH
    # print writes, not rich: rich would end the process when the reader of a pipe leaves.
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=terminal, width=width, highlight=False)
    console.print(_verdict(targets, ran, report))
    where = _("In {folder}, in place of an earlier run's files:") if has_replaced else _("In {folder}:")
    console.print(Text(where.format(folder=out)), soft_wrap=True)  # a path stays in one piece
    console.print(_files())
    for line in paper.getvalue().splitlines():
        print(line.rstrip())


def _verdict(targets: list[Target], ran: Ran, report: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [Text(), _table(targets, recovery_of(ran.history, VICTIM)), Text()]
    speed = report["speed"]
    parts.append(
        Text(
            _(
                "Speed: {cluster:.0f} pictures per s on {workers} workers, the kill included; "
                "{loop:.0f} per s in the plain loop; {cores} cores."
            ).format(
                cluster=speed["cluster_per_s"],
                loop=speed["sequential_per_s"],
                workers=len(ran.history.slots()),
                cores=report["machine"]["cores"],
            )
        )
    )
    met = sum(target.met for target in targets)
    style = f"bold {GREEN}" if met == len(targets) else f"bold {FAULT}"
    said = _("{met} of {n} targets met, in {seconds:.0f} s.").format(
        met=met, n=len(targets), seconds=report["seconds"]["total"]
    )
    parts += [Text(said, style), Text()]
    return Group(*parts)


def _table(targets: list[Target], chain: Recovery | None) -> Table:
    rule = box.SIMPLE_HEAD if _can_show("─") else None
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in (_("target"), _("measured"), ""):
        table.add_column(title)
    for target in targets:
        word = Text(_("met"), f"bold {GREEN}") if target.met else Text(_("MISSED"), f"bold {FAULT}")
        table.add_row(_(target.template).format(**target.params), target.measured, word)
        if target.id == "recovery" and chain is not None:
            for link, after in chain_in_words(chain):
                table.add_row(Padding(Text(link, "dim"), (0, 0, 0, 2)), Text(after, "dim"), "")
    return table


def _can_show(character: str) -> bool:
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _files() -> RenderableType:
    meanings = {
        "overview.png": _("the whole run on one page"),
        "contact-sheet.png": _("before and after"),
        "throughput, gantt, recovery, share .png": _("its charts one by one"),
        "report.json, events.jsonl": _("every number, and every event"),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    for names, what in meanings.items():
        table.add_row(Text(names), Text(what, "dim"))
    return table
