"""``doctor``: shows the findings of ``labkit.cli.doctor_checks`` as text or JSON."""

from __future__ import annotations

import argparse
import os
import sys

from labkit.cli import doctor_checks, output
from labkit.cli.cluster import json_option
from labkit.cli.doctor_findings import FAIL, OK, TOPICS, WARN, Sentence
from labkit.cli.parser import Parser
from labkit.support.i18n import _
from labkit.support.settings import Settings

COLOURS = {OK: "32", WARN: "33", FAIL: "1;31"}


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    json_option(parser)
    parser.examples("doctor", "doctor --json")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Show the findings; return 1 if something that the lab needs is missing, else 0."""
    if options.json:
        return _as_json(settings)
    # Not rich: the doctor also works where the packages are missing.
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    words = {OK: _("ok"), WARN: _("note"), FAIL: _("FAILS")}
    width = max(len(word) for word in words.values())
    indent = max(len(_(topic)) for topic in TOPICS.values())
    failed = False
    for finding in doctor_checks.examine(settings):
        mark = f"{words[finding.state]:<{width}}"
        if colour:
            mark = f"\x1b[{COLOURS[finding.state]}m{mark}\x1b[0m"
        print(mark, end="  ")  # its colour is ours; the rest may quote anything
        output.line(f"{_(TOPICS[finding.topic]):<{indent}}  {_text(finding.found)}")
        if finding.advice.template:
            output.line(f"{'':<{width}}  {'':<{indent}}  → {_text(finding.advice)}")
        sys.stdout.flush()
        failed |= finding.state == FAIL
    output.line()
    output.line(
        _("The lab lacks something that it needs; see above.") if failed else _("The lab can run here.")
    )
    return 1 if failed else 0


def _text(sentence: Sentence) -> str:
    return _(sentence.template).format(**sentence.params)


def _as_json(settings: Settings) -> int:
    findings = list(doctor_checks.examine(settings))
    failed = any(finding.state == FAIL for finding in findings)
    checks = [
        {"check": each.topic, "state": each.state, "found": str(each.found), "advice": str(each.advice)}
        for each in findings
    ]
    output.as_json({"ok": not failed, "checks": checks})
    return 1 if failed else 0
