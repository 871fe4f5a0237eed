"""``submit FILES|FOLDER``: runs pictures through filters on any engine and accounts for every file."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cli import output, submit_report
from labkit.cli.batch import Batch, Outputs, Report, find_pictures, make_folder
from labkit.cli.cluster import connected, json_option, name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser, command_parser
from labkit.cli.sent_again import sent_again
from labkit.cluster.status import recovery_command
from labkit.cluster.status_text import STATES
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.core.names import without_controls
from labkit.core.protocol.exit_codes import INTERRUPTED
from labkit.executors import ENGINES, open_executor
from labkit.imaging import image_files
from labkit.imaging.filters import FILTERS, Step, parse_steps, parse_value
from labkit.imaging.photos import Skipped
from labkit.support.i18n import _
from labkit.support.setting_values import words
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from labkit.cluster import Cluster

TELL_AFTER_S = 3.0
"""When no picture has finished for this long, the command shows what the cluster waits for."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar=_("FILE|FOLDER"),
        help=_(
            "files (PNG, JPEG, WebP, BMP, TIFF, GIF), folders of them "
            "(default: the photographs that come with the lab)"
        ),
    )
    parser.add_argument("--recursive", action="store_true", help=_("read the subfolders of folders too"))
    parser.add_needed("--filters", action="append", metavar="A,B", help=_("filters, in this order"))
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar=_("FILTER.NAME=VALUE"),
        help=_("a filter's parameter, if not the usual value"),
    )
    parser.add_needed("--out", metavar=_("DIR"), help=_("folder for the results; created if it is missing"))
    parser.add_argument(
        "--format", choices=("png", "jpg"), default="png", help=_("of the results (default: png)")
    )
    parser.add_argument(
        "--background",
        default="white",
        metavar=_("COLOUR"),
        help=_("for transparent parts in JPEG results: a name or #rrggbb (default: white)"),
    )
    parser.add_argument(
        "--strip",
        action="store_true",
        help=_("leave EXIF data (place, time, camera) out of the results"),
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=_("replace earlier results of the same name; without it, new results get a number"),
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="cluster",
        help=_("where the work is computed (default: cluster)"),
    )
    json_option(parser)
    name_option(parser)
    parser.examples(
        "submit photos --filters sharpen,edges --out out",
        "submit photos --filters fit --param fit.width=800 --param fit.height=600 --out out",
        "submit cat.jpg --filters sharpen --param sharpen.intensity=3 --out out --format jpg",
        "submit --filters blur --out out --engine sequential",
    )
    title = _("filters:")  # not inside the f-string, where the extractor does not find it
    parser.epilog = f"{title}\n{_filters()}\n\n{parser.epilog}"


def _filters() -> str:
    lines = []
    for each in FILTERS.values():
        parameters = ", ".join(
            _("{name} {low:g} to {high:g}").format(
                name=parameter.name, low=parameter.low, high=parameter.high
            )
            + ("" if parameter.default is None else _(" (usually {value:g})").format(value=parameter.default))
            + (_(" (optional)") if parameter.optional else "")
            for parameter in each.parameters
        )
        lines.append(f"  {each.name:<16} {parameters}")
    return "\n".join(lines)


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Process the pictures; return the exit code: 0 only if every one was written."""
    _refuse_misplaced_words(options)
    command_parser("submit").refuse_missing(options)
    steps = _steps(options)
    _refuse_empty_names(options)
    image_files.parse_colour(options.background)
    folder = Path(options.out)
    _refuse_inputs_folder(folder, options.sources)
    skipped: list[Skipped] = []
    pictures, failed = find_pictures(
        options.sources, options.recursive, without=folder, on_skipped=skipped.append
    )
    with _engine(options, settings) as (executor, cluster):
        events = None if cluster is None else cluster.event_file()
        if events is not None:
            events.skip()
        if pictures:
            make_folder(folder)
        outputs = Outputs(folder, pictures, steps, f".{options.format}")
        with _progress(len(pictures), quiet=options.json) as (on_progress, tell):
            needs = {name for name, _params in steps}
            on_wait = _Patience(cluster, needs, tell).look if cluster is not None else _nothing
            batch = Batch(
                executor,
                steps,
                outputs,
                options.format,
                on_progress,
                on_wait,
                overwrite=options.overwrite,
                background=options.background,
                strip=options.strip,
            )
            report = batch.run(pictures)
        again = {} if events is None else sent_again(events, report)
    report.failed[:0] = failed
    if options.json:
        output.as_json(submit_report.as_json(report, options, steps, skipped, again))
    elif report.interrupted:
        submit_report.tell_interrupted(report, len(pictures) + len(failed) - report.total, options)
    else:
        submit_report.print_report(report, options, cluster, again)
        submit_report.tell_skipped(skipped)
    if report.interrupted:
        return INTERRUPTED
    return 1 if report.failed else 0


def _refuse_empty_names(options: argparse.Namespace) -> None:
    """Raise UsageError for an empty name, as an unset variable produces it: it would mean this folder."""
    if not options.out.strip():
        raise UsageError(N_("--out {path!r}: the name of a folder is expected"), path=options.out)
    for source in options.sources:
        if not source.strip():
            raise UsageError(N_("{path!r} names no picture: a file or a folder is expected"), path=source)


def _refuse_misplaced_words(options: argparse.Namespace) -> None:
    """Raise UsageError for a word that belongs to the option before it: a shell splits at spaces."""
    absent = [source for source in options.sources if not os.path.lexists(source)]
    filters = [source for source in absent if words(source) and set(words(source.lower())) <= set(FILTERS)]
    if filters:
        raise UsageError(
            N_(
                "{word!r} is a filter, and there is no file of that name; write the filters with commas and "
                "no spaces: --filters {filters}"
            ),
            word=filters[0],
            filters=",".join(
                name
                for given in (*(options.filters or ()), *(word.lower() for word in filters))
                for name in words(given)
            ),
        )
    chosen = [name for given in options.filters or () for name in words(given)]
    for source in absent:
        if param := _param(source, chosen):
            raise UsageError(
                N_(
                    "{word!r} is a parameter, and there is no file of that name; write --param before each "
                    "of them: --param {param}"
                ),
                word=source,
                param=param,
            )


def _param(text: str, chosen: list[str]) -> str:
    """Return ``text`` as ``filter.parameter=value``, or "" if it is none; a short ``parameter=value`` is too.

    The short form belongs to the first of the ``chosen`` filters that has such a parameter.
    """
    found = re.fullmatch(r"(?:(\w+)\.)?(\w+)=(.*)", text)
    if found is None:
        return ""
    filter, parameter, value = found.groups()
    if filter is not None:
        return text if filter in FILTERS else ""
    for name in chosen:
        if name in FILTERS and parameter in (each.name for each in FILTERS[name].parameters):
            return f"{name}.{parameter}={value}"
    return ""


def _refuse_inputs_folder(out: Path, sources: list[str]) -> None:
    """Raise UsageError if the results would be written among the inputs and be inputs of the next run."""
    for source in map(Path, sources):
        if source.is_dir() and out.resolve() == source.resolve():
            raise UsageError(
                N_("--out {path} is the folder with the input pictures; name another folder"), path=str(out)
            )


def _nothing() -> None:
    """Do nothing: an engine in this process has no cluster to wait for."""


def _steps(options: argparse.Namespace) -> list[Step]:
    filters = [name for given in options.filters for name in re.split(r"[,\s]+", given) if name]
    for name in filters:
        meant = _filters_meant(name)
        if name not in FILTERS and meant:
            if not meant.startswith("--"):
                meant = ",".join(_filters_meant(each) or each for each in filters)
            raise UsageError(
                N_("--filters {given!r} is not understood; write {filters}"), given=name, filters=meant
            )
    params: dict[str, dict[str, object]] = {}
    for text in options.param:
        if len(several := re.split(r"[,;\s]+(?=\w+\.\w+=)", text.strip())) > 1:
            raise UsageError(
                N_("--param {text!r}: write --param before each parameter: {params}"),
                text=text,
                params=" ".join(f"--param {each}" for each in several),
            )
        target, equals, value = text.partition("=")
        filter_name, dot, parameter = target.strip().partition(".")
        if not (equals and dot and parameter):
            raise UsageError(
                N_("--param {text!r}: something like sharpen.intensity=3 is expected"), text=text
            )
        given = params.setdefault(filter_name, {})
        if parameter in given:
            raise UsageError(
                N_("--param {filter}.{parameter} is given twice"), filter=filter_name, parameter=parameter
            )
        given[parameter] = parse_value(filter_name, parameter, value.strip())
    return parse_steps(filters, params)


def _filters_meant(text: str) -> str:
    """Return the filters that a word behind ``--filters`` names in another way, or "" if it names none.

    With a value in it (``blur=3``, ``blur(3)``), the options that say so are returned.
    """
    found = re.fullmatch(r"(\w+)(?:\.(\w+))?[=:(]+([\d.]+)\)?", text.lower())
    if found is not None and found[1] in FILTERS:
        name, parameter, value = found.groups()
        parameter = parameter or FILTERS[name].parameters[0].name
        return f"--filters {name} --param {name}.{parameter}={value}"
    parts = [part for part in re.split(r"\W+", text.lower()) if part]
    return ",".join(parts) if set(parts) <= set(FILTERS) else ""


# --- where it is computed -----------------------------------------------------------------------------------


@contextmanager
def _engine(options: argparse.Namespace, settings: Settings) -> Iterator[tuple[Executor, Cluster | None]]:
    """Yield the engine and its cluster, and close both at the end, also after an error."""
    if options.engine != "cluster":
        executor = open_executor(options.engine)
        try:
            yield executor, None
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        return
    from labkit.executors import ClusterExecutor

    try:
        cluster = connected(options, settings)
    except ClusterNotRunning as error:
        raise ClusterNotRunning(N_("{why}; --engine processes needs no cluster"), why=error) from error
    with cluster:
        client = cluster.client("submit")
        try:
            yield ClusterExecutor(client), cluster
        finally:
            client.close()  # not the executor's shutdown: after an interruption, open tasks are given up


class _Patience:
    """Explains once why no picture finishes, and ends the batch if the cluster has gone."""

    def __init__(self, cluster: Cluster, needs: set[str], tell: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._needs = needs
        self._tell = tell
        self._since = time.monotonic()
        self._told = ""

    def look(self) -> None:
        """Explain the wait if there is a reason. Raises ClusterNotRunning if the cluster went down."""
        if time.monotonic() - self._since < TELL_AFTER_S:
            return
        self._since = time.monotonic()
        try:
            status = self._cluster.status()
        except ClusterNotRunning as error:
            raise ClusterNotRunning(
                N_("the cluster {name!r} went down in the middle; python -m labkit up starts it again"),
                name=self._cluster.name,
            ) from error
        except ClusterError:
            return  # too busy to answer, so it is working
        if (why := _why_waiting(status, self._needs)) and why != self._told:
            self._tell(why)
        self._told = why


def _why_waiting(status: Mapping[str, Any], needs: set[str]) -> str:
    """Return what the user has to do before work can continue, or "" if the cluster is only slow."""
    rows = status["processes"]
    recovery = recovery_command(rows, "broker")
    if recovery == "resume":
        return _("waiting: the broker is frozen; python -m labkit resume broker")
    if recovery == "start":
        return _("waiting: the broker is down; python -m labkit start broker")
    if recovery == "up":
        return _("waiting: the broker's container is missing or never ran; python -m labkit up makes it anew")
    if any(row["kind"] == "broker" and row["state"] != "running" for row in rows):
        return _("waiting: the broker is not up yet; python -m labkit logs broker shows why")
    workers = status["workers"]
    if not any(row["process"] in ("running", "restarting") for row in workers):
        if not workers:
            return _("waiting: the cluster has no workers; python -m labkit scale 3")
        command = STATES[workers[0]["process"]].recovery or "start"
        text = _("waiting: no worker is up; python -m labkit {command} {worker}")
        return text.format(command=command, worker=workers[0]["name"])
    known = [row for row in workers if row["status"] in ("ready", "busy", "suspect")]
    if known and not any(not row["capabilities"] or needs <= set(row["capabilities"]) for row in known):
        text = _("waiting: no worker serves {filters}; python -m labkit status shows what each serves")
        return text.format(filters=", ".join(sorted(needs)))
    return ""


# --- what is shown ------------------------------------------------------------------------------------------

OnProgress = Callable[[Report], None]


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[tuple[OnProgress, Callable[[str], None]]]:
    """Show a progress bar on a terminal; yields the functions to report progress and to print a line."""
    if quiet or not sys.stderr.isatty():
        yield (lambda report: None), output.complain
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=total, rate="")

        def show(report: Report) -> None:
            seconds = time.monotonic() - began
            rate = _("{rate:.1f} pictures/s").format(rate=report.total / seconds if seconds else 0.0)
            progress.update(bar, completed=report.total, rate=rate)

        yield (
            show,
            lambda text: console.print(
                without_controls(output.as_called(text)), markup=False, soft_wrap=True
            ),
        )
