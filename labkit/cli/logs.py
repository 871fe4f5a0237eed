"""``logs [WORKER]``: shows what the processes of a cluster printed, once or continuously.

It reads the log files directly, so it works for a cluster that has crashed: that is when logs matter most.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from labkit.cli import output
from labkit.cli.cluster import backend_of, name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.cluster import connect
from labkit.cluster.backend import no_log_of_redis
from labkit.cluster.processes import REDIS
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterNotRunning, InvalidInput
from labkit.core.names import without_controls
from labkit.support.i18n import _
from labkit.support.settings import Settings

POLL_S = 0.2
CHUNK = 1 << 20


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "process",
        nargs="?",
        metavar="WORKER",
        help=_("worker-1 ...; also broker, redis, api, supervisor (default: all)"),
    )
    parser.add_argument(
        "--lines", type=int, default=50, metavar="N", help=_("how many of the last lines (default: 50)")
    )
    parser.add_argument("--follow", "-f", action="store_true", help=_("keep showing new lines, until Ctrl-C"))
    name_option(parser)
    parser.examples("logs worker-1", "logs broker --lines 200", "logs --follow")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Show the logs; return the exit code."""
    if options.lines < 0:
        raise UsageError(N_("--lines {n}: 0 or more is expected"), n=options.lines)
    backend = backend_of(options.name, settings, options.backend)
    if backend == "compose":
        return _of_containers(options, settings)
    name = options.name or settings.cluster
    folder = RunFolder.of(settings.home, name)
    files = _log_files(folder)
    if not files:
        raise ClusterNotRunning(
            N_("no cluster {name!r} is running; python -m labkit up{option} starts one"),
            name=name,
            option="" if name == settings.cluster else f" --name {name}",
        )
    if options.process == REDIS and REDIS not in files:
        state = folder.running()
        raise no_log_of_redis(None if state is None else state["redis_url"])
    if options.process is not None and options.process not in files:
        raise InvalidInput(
            N_("{process!r} has no log; there are {known}"), process=options.process, known=", ".join(files)
        )
    if folder.running() is None:
        output.complain(
            _("The cluster {name!r} is not running; these are the logs that it left.").format(name=name)
        )
    views = {each: _View(path) for each, path in files.items() if options.process in (None, each)}
    for each, view in views.items():
        lines = view.last(options.lines)
        if not options.follow:
            lines += view.unfinished()
        _show(each, lines, files, options.process)
    if options.follow:
        _follow(views, folder, options.process)
    return 0


def _of_containers(options: argparse.Namespace, settings: Settings) -> int:
    """Show the logs of containers, which Docker keeps."""
    if options.follow and settings.control is None:
        from labkit.cluster.compose.start import follow_logs

        named = replace(settings, cluster=options.name or settings.cluster)
        return follow_logs(named, options.process, options.lines)
    with connect(options.name, settings, backend="compose") as cluster:
        print(without_controls(cluster.logs(options.process, options.lines)), end="")
    return 0


def _follow(views: dict[str, _View], folder: RunFolder, process: str | None) -> None:
    """Show new lines until the cluster has ended or Ctrl-C is pressed."""
    while True:
        sys.stdout.flush()
        running = folder.running() is not None
        files = _log_files(folder)
        for each, path in files.items():
            if process in (None, each):
                view = views.setdefault(each, _View(path))
                _show(each, view.new(), files, process)
        if not running:
            return
        time.sleep(POLL_S)


def _show(name: str, lines: list[str], files: dict[str, Path], process: str | None) -> None:
    width = max(len(each) for each in files)
    for line in lines:
        line = without_controls(line)
        print(line if process is not None else f"{name:<{width}} | {line}")


def _log_files(folder: RunFolder) -> dict[str, Path]:
    """Return the logs by process: the workers by number, then the others."""
    paths = {path.stem: path for path in folder.log_file("x").parent.glob("*.log")}
    return {name: paths[name] for name in sorted(paths, key=_order)}


def _order(name: str) -> tuple[bool, str, int]:
    worker = re.fullmatch(r"worker-(\d+)", name)
    return (False, "", int(worker[1])) if worker else (True, name, 0)


class _View:
    """One log file and how far it has been shown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """Return the last ``count`` lines; later ones come from ``new``."""
        kept: deque[str] = deque(maxlen=count)
        before = -1
        while self._offset > before:
            before = self._offset
            kept.extend(self.new())
        return list(kept)

    def unfinished(self) -> list[str]:
        """Return the last line if it has no line end yet: a process may have died while writing it."""
        return [self._rest.decode("utf-8", "replace")] if self._rest else []

    def new(self) -> list[str]:
        """Return the complete lines added since the last call, reading one megabyte at most."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # the file was replaced or emptied: start over
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read(CHUNK)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
