"""What ``submit`` prints when it has ended: the account of every file, as sentences or as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cli import output
from labkit.cli.batch import Failure, Report, Written
from labkit.cli.in_the_way import as_spelt, explained
from labkit.cli.sent_again import again_in_words
from labkit.imaging.filters import Step
from labkit.imaging.photos import Skipped
from labkit.support.i18n import _, ngettext, translate_error
from labkit.support.text import printable

if TYPE_CHECKING:
    from labkit.cluster import Cluster

LISTED = 20
NAMED = 5


def print_report(
    report: Report, options: argparse.Namespace, cluster: Cluster | None, again: Mapping[str, list[str]]
) -> None:
    written = len(report.written)
    text = ngettext("{written} of {n} picture in {span}", "{written} of {n} pictures in {span}", report.total)
    line = text.format(written=written, n=report.total, span=output.seconds(report.seconds))
    if written:
        line += _(": {rate:.1f} per second").format(rate=report.per_second)
    if cluster is not None:
        workers = ", ".join(f"{name} {count}" for name, count in report.workers().items())
        line += _(", on the cluster {name!r}").format(name=cluster.name) + (
            f" ({workers})" if workers else ""
        )
    else:
        line += _(", engine {engine}").format(engine=options.engine)
    output.line(line + ".")
    if again:
        output.line(again_in_words(again, report.total))
    if written:
        output.line(printable(_("The results are in {folder}.").format(folder=options.out)))
        _tell_numbered(report)
    _listed([_("note: {text}").format(text=translate_error(note)) for note in report.notes], output.line)
    sys.stdout.flush()
    _complain(report)


def tell_interrupted(report: Report, left: int, options: argparse.Namespace) -> None:
    """Print what Ctrl-C has left: how much is done, where it is, and what to do next."""
    if report.written:
        text = ngettext(
            "Interrupted: {n} result stays in {folder}, whole; {unprocessed} The same command processes "
            "all pictures, and writes no second file where the result is equal.",
            "Interrupted: {n} results stay in {folder}, each of them whole; {unprocessed} The same command "
            "processes all pictures, and writes no second file where the result is equal.",
            len(report.written),
        )
    else:
        text = _("Interrupted: no result was written; {unprocessed}")
    unprocessed = _unprocessed(left)
    output.complain(text.format(n=len(report.written), folder=options.out, unprocessed=unprocessed))


def _unprocessed(count: int) -> str:
    text = ngettext("{n} picture was not processed.", "{n} pictures were not processed.", count)
    return text.format(n=count)


def _tell_numbered(report: Report) -> None:
    """Print which outputs got a number because something else, or another picture, has their name."""
    numbered = [done for done in report.written if done.instead_of or done.shared]
    _listed([_why_numbered(done) for done in numbered[:LISTED]], output.line, len(numbered))


def _why_numbered(done: Written) -> str:
    if done.instead_of is not None:
        return explained(done.in_the_way, done.source, done.output, done.instead_of)
    assert done.shared is not None
    taken = as_spelt(done.shared)
    if done.shared_with is None:
        text = _(
            "The result of {input} is {output}: {taken} is one of the pictures to process, and no picture is "
            "replaced"
        )
    elif taken == done.shared.name:
        text = _("The result of {input} is {output}: {taken} belongs to another picture, {other}")
    else:
        text = _(
            "The result of {input} is {output}: {taken} belongs to another picture, {other}, and some file "
            "systems take both names for one"
        )
    return text.format(input=done.source, output=done.output.name, taken=taken, other=done.shared_with)


def tell_skipped(skipped: list[Skipped]) -> None:
    """Print what was found in the folders and left out: one line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for each in skipped:
        by_reason.setdefault(translate_error(each.reason), []).append(str(each.path))
    for reason, paths in by_reason.items():
        shown = ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
        text = _("skipped {n} ({reason}): {paths}")
        output.complain(printable(text.format(n=len(paths), reason=reason, paths=shown)))


def _listed(lines: list[str], write: Callable[[str], None], count: int | None = None) -> None:
    """Print the first lines, and how many more there are; ``count`` if ``lines`` does not hold all."""
    for text in lines[:LISTED]:
        write(printable(text))
    if (more := (len(lines) if count is None else count) - LISTED) > 0:
        text = ngettext("... and {n} more (--json lists all)", "... and {n} more (--json lists all)", more)
        write(text.format(n=more))


def _complain(report: Report) -> None:
    """List the failures with their reasons; pictures that were never processed are only counted."""
    failed = report.failed
    if report.ended_by is not None:
        output.complain(translate_error(report.ended_by))
        unprocessed = [failure for failure in failed if failure.error is report.ended_by]
        failed = [failure for failure in failed if failure.error is not report.ended_by]
        output.complain(_unprocessed(len(unprocessed)))
    _listed([_("failed: {what}").format(what=_what(failure)) for failure in failed], output.complain)


def _what(failure: Failure) -> str:
    """Return the error text, which always contains the name of the file."""
    text = translate_error(failure.error)
    return text if str(failure.source) in text else f"{failure.source}: {text}"


def as_json(
    report: Report,
    options: argparse.Namespace,
    steps: list[Step],
    skipped: list[Skipped],
    again: Mapping[str, list[str]],
) -> dict[str, Any]:
    return {
        "engine": options.engine,
        "steps": [{"filter": name, "params": params} for name, params in steps],
        "pictures": report.total,
        "written": [
            {
                "input": str(done.source),
                "output": str(done.output),
                "worker": done.worker,
                "attempt": done.attempt,
                "again": again.get(done.task, []),
                "instead_of": None if done.instead_of is None else str(done.instead_of),
                "in_the_way": done.in_the_way or None,
                "shared": None if done.shared is None else str(done.shared),
                "shared_with": None if done.shared_with is None else str(done.shared_with),
            }
            for done in report.written
        ],
        "failed": [{"input": str(failure.source), "error": str(failure.error)} for failure in report.failed],
        "skipped": [{"path": str(each.path), "reason": str(each.reason)} for each in skipped],
        "notes": [str(note) for note in report.notes],
        "seconds": round(report.seconds, 3),
        "images_per_s": round(report.per_second, 2),
        "workers": report.workers(),
        "interrupted": report.interrupted,
        "ended_by": None if report.ended_by is None else str(report.ended_by),
    }
