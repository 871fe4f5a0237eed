"""The output of a suite: a line for each case while it goes on, then the table; or JSON."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labkit.core.errors import N_
from labkit.faults.case import Case
from labkit.faults.judge import shown_seconds
from labkit.faults.verdict import Claim, Result, Verdict, verdict_of_all
from labkit.support.i18n import _, translate_error
from labkit.support.palette import FAULT, GREEN, ORANGE

PIPED_WIDTH = 140
WIDEST = 160
WORDS = {
    Verdict.PASS: N_("PASS"),
    Verdict.FAIL: N_("FAIL"),
    Verdict.INCONCLUSIVE: N_("inconclusive"),
}
STYLES = {
    Verdict.PASS: f"bold {GREEN}",
    Verdict.FAIL: f"bold {FAULT}",
    Verdict.INCONCLUSIVE: f"bold {ORANGE}",
}


def sentence(claim: Claim) -> str:
    """Return a claim as a sentence in the reader's language, with the bound that it was held to."""
    params = {
        name: translate_error(value) if isinstance(value, Exception) else value
        for name, value in claim.params.items()
    }
    text = _(claim.template).format(**params)
    if claim.wanted.startswith("≤") or (claim.wanted and not claim.met):
        text += f" ({claim.wanted})"
    if claim.met:
        return text
    return (_("not shown: {claim}") if claim.excused else _("MISSED: {claim}")).format(claim=text)


def measured(result: Result) -> str:
    """Return all measurements of a case; missed claims come first."""
    claims = sorted(result.claims, key=lambda claim: (claim.met, claim.excused))
    sentences = list(dict.fromkeys(sentence(claim) for claim in claims))
    if result.verdict is not Verdict.PASS and result.lost_s >= 0.1:
        sentences.append(
            _("the machine was elsewhere for {seconds}").format(seconds=shown_seconds(result.lost_s))
        )
    return "; ".join(sentences)


def word(verdict: Verdict) -> str:
    """Return a verdict in the reader's language."""
    return _(WORDS[verdict])


def after(seconds: float | None) -> str:
    """Return a span, or a dash where there is none."""
    return "–" if seconds is None else shown_seconds(seconds)


def line(result: Result) -> str:
    """Return one case on one line, for a suite that goes on."""
    return _("{name:<18} {verdict:<13} detected {detected:<8} went on {recovered:<8} ({took} in all)").format(
        name=result.name,
        verdict=word(result.verdict),
        detected=after(result.detection_s),
        recovered=after(result.recovery_s),
        took=shown_seconds(result.seconds),
    )


def print_table(cases: Sequence[Case], results: Sequence[Result]) -> None:
    """Print the table and its sum to the standard output."""
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else PIPED_WIDTH
    # print writes, not rich: rich would end the process when the reader of a pipe leaves.
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=terminal, width=width, highlight=False)
    console.print(_table(cases, results))
    console.print(_sum(results))
    for text in paper.getvalue().splitlines():
        print(text.rstrip())


def _table(cases: Sequence[Case], results: Sequence[Result]) -> Table:
    edges = box.SIMPLE_HEAD if (sys.stdout.encoding or "").lower().startswith("utf") else box.ASCII
    table = Table(box=edges, show_lines=True, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(_("fault"), ratio=5)
    table.add_column(_("promise"), ratio=5)
    table.add_column(_("measured"), ratio=7)
    table.add_column(_("detected"), justify="right", no_wrap=True)
    table.add_column(_("went on"), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for case, result in zip(cases, results, strict=False):
        verdict = result.verdict
        table.add_row(
            Text.assemble((case.name, "bold"), "\n", _(case.fault)),
            _(case.promise),
            measured(result),
            after(result.detection_s),
            after(result.recovery_s),
            Text(word(verdict), STYLES[verdict]),
        )
    return table


def _sum(results: Sequence[Result]) -> Text:
    count = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    text = _("{passed} passed, {failed} failed, {open} inconclusive, in {seconds:.0f} s.").format(
        passed=count[Verdict.PASS],
        failed=count[Verdict.FAIL],
        open=count[Verdict.INCONCLUSIVE],
        seconds=sum(result.seconds for result in results),
    )
    if count[Verdict.FAIL]:
        return Text("\n" + text, STYLES[Verdict.FAIL])
    if count[Verdict.INCONCLUSIVE] == len(results):
        why = _("Nothing was shown: this machine was too slow, or lacks what the cases need.")
        return Text(f"\n{text}\n{why}", STYLES[Verdict.INCONCLUSIVE])
    if count[Verdict.INCONCLUSIVE]:
        why = _("Inconclusive: this machine was too slow, or lacks what the case needs; nothing was shown.")
        return Text(f"\n{text}\n{why}", STYLES[Verdict.INCONCLUSIVE])
    return Text("\n" + text, STYLES[Verdict.PASS])


def as_json(cases: Sequence[Case], results: Sequence[Result]) -> dict[str, Any]:
    """Return the suite for programs; texts are English."""
    count = {verdict.value: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    return {
        "passed": verdict_of_all(results) is Verdict.PASS,
        "count": count,
        "seconds": round(sum(result.seconds for result in results), 3),
        "cases": [_case_as_json(case, result) for case, result in zip(cases, results, strict=False)],
    }


def _case_as_json(case: Case, result: Result) -> dict[str, Any]:
    return {
        "name": case.name,
        "fault": case.fault,
        "promise": case.promise,
        "verdict": result.verdict.value,
        "measured": [
            {"claim": str(claim), "met": claim.met, "excused": claim.excused, "wanted": claim.wanted}
            for claim in result.claims
        ],
        "detection_s": _rounded(result.detection_s),
        "recovery_s": _rounded(result.recovery_s),
        "seconds": round(result.seconds, 3),
        "lost_to_the_machine_s": round(result.lost_s, 3),
        "events": result.events,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
