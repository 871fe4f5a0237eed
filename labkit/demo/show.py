"""The whole demo, step by step; each step is a module of its own.

An error, Ctrl-C or SIGTERM leaves neither a process nor a file behind: the cluster ends with the ``with``
that opened it, and with this process at the latest; the files are written last, together.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cluster import open
from labkit.core.errors import N_, InvalidInput
from labkit.demo import batch
from labkit.demo.batch import Gathered
from labkit.demo.view import PlainView, View
from labkit.imaging import photos
from labkit.imaging.photos import Skipped
from labkit.support.i18n import _, ngettext, translate_error
from labkit.support.text import printable

if TYPE_CHECKING:
    from labkit.demo.reference import Reference
    from labkit.demo.run import Ran
    from labkit.demo.targets import Target
    from labkit.support.settings import Settings

RUN_S = 8.0
"""The intended length of the run: long enough to watch, short enough for a lesson."""
FEWEST_WORKERS, MOST_WORKERS = 2, 16
LISTED = 10


def show(options: argparse.Namespace, settings: Settings | None = None) -> int:
    """Run the demo with these options; return the exit code."""
    if not FEWEST_WORKERS <= options.workers <= MOST_WORKERS:
        raise InvalidInput(
            N_("--workers {n} is not possible: {low} to {high} are, because one of them is killed"),
            n=options.workers,
            low=FEWEST_WORKERS,
            high=MOST_WORKERS,
        )
    # matplotlib warns of its font cache, in the middle of the display.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    demo = Demo(options, settings)
    try:
        with _sigterm_as_ctrl_c():
            return demo.perform()
    except KeyboardInterrupt:
        if not demo.has_written:
            print(_("interrupted: the cluster has ended, and nothing was written"), file=sys.stderr)
        raise


def choose_view(json: bool) -> View:
    """Return the view for this standard output."""
    if json:
        return View()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from labkit.demo.terminal import TerminalView

        return TerminalView()
    return PlainView(sys.stdout)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, as ``timeout`` sends it, end the demo as Ctrl-C does: with everything cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Demo:
    """One demo, step by step."""

    def __init__(self, options: argparse.Namespace, settings: Settings | None) -> None:
        self._workers: int = options.workers
        self._json: bool = options.json
        self._skipped: list[Skipped] = []
        if options.photos is None:
            self._photos = photos.bundled()
        else:
            self._photos = photos.from_folder(
                options.photos, options.recursive, on_skipped=self._skipped.append
            )
        self._out = Path(options.out).expanduser()
        self._has_replaced = False
        self._settings = settings
        self._backend: str | None = options.backend
        self._view = choose_view(self._json)
        self._seconds: dict[str, float] = {}
        self._began_at = time.monotonic()
        self.has_written = False

    def perform(self) -> int:
        """Run all steps; return 0 if every target was met."""
        from labkit.demo.report import OutFolder, report_file, summary

        open.check(self._backend, self._settings)
        with OutFolder(self._out).prepared() as out:
            with self._view:
                self._view.title(
                    _("labkit demo: {n} workers, one is killed, nothing is lost").format(n=self._workers)
                )
                gathered = self._gather()
                reference = self._reference(gathered)
                rounds = self._rounds(reference.seconds)
                ran = self._run(gathered, rounds)
                targets, pictures = self._evaluate(gathered, reference, ran)
            self._seconds["total"] = time.monotonic() - self._began_at
            report = summary(gathered, rounds, reference, ran, targets, self._seconds)
            files = {**pictures, "events.jsonl": ran.recording, "report.json": report_file(report)}
            self._has_replaced = out.write(files)
            self.has_written = True
        self._conclude(targets, ran, report)
        return 0 if report["passed"] else 1

    # --- the steps ------------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - began

    def _gather(self) -> Gathered:
        with self._timed("gather"):
            self._view.step(_("making pictures"), batch.PICTURES)
            gathered = batch.gather(self._photos, on_progress=self._view.advance)
            self._view.step_done(_made_of(gathered))
        left_out = [translate_error(failure.error) for failure in gathered.failed]
        left_out += [f"{each.path}: {translate_error(each.reason)}" for each in self._skipped]
        for why in left_out[:LISTED]:
            self._view.warn(printable(_("left out: {why}").format(why=why)))
        if (more := len(left_out) - LISTED) > 0:
            self._view.warn(
                ngettext("left out: {n} more photo", "left out: {n} more photos", more).format(n=more)
            )
        for note in gathered.notes[:LISTED]:
            self._view.warn(printable(translate_error(note)))
        return gathered

    def _reference(self, gathered: Gathered) -> Reference:
        from labkit.demo import reference

        with self._timed("reference"):
            self._view.step(_("the plain loop, to compare with"), len(gathered.pictures))
            found = reference.compute(gathered.pictures, batch.steps(), self._view.advance)
            self._view.step_done(
                _("the plain loop, to compare with: {n} pictures, {rate:.0f} per s").format(
                    n=len(gathered.pictures), rate=found.per_s
                )
            )
        return found

    def _rounds(self, reference_s: float) -> int:
        return batch.rounds_for(reference_s, RUN_S, min(self._workers, os.cpu_count() or 1))

    def _run(self, gathered: Gathered, rounds: int) -> Ran:
        with self._timed("cluster_up"):
            self._view.step(_("starting the cluster"))
            from labkit.cluster import open_cluster
            from labkit.demo.run import Run

            cluster = open_cluster(self._workers, "demo", backend=self._backend, settings=self._settings)
        with cluster:
            self._view.step_done(
                _("a cluster: broker, {registry}, {n} workers").format(
                    registry=_("registry in Redis") if cluster.redis_url else _("no Redis"), n=self._workers
                )
            )
            with self._timed("run"):
                ran = Run(
                    cluster, self._workers, gathered.pictures, rounds, batch.steps(), self._view
                ).perform()
        return ran

    def _evaluate(
        self, gathered: Gathered, reference: Reference, ran: Ran
    ) -> tuple[list[Target], dict[str, bytes]]:
        from labkit.demo.reference import different
        from labkit.demo.report import pictures_of
        from labkit.demo.targets import measure

        with self._timed("compare"):
            self._view.step(_("comparing the pixels"))
            unlike = different(reference, ((ran.tasks[task], data) for task, data in ran.results.items()))
            names = [gathered.pictures[number].name for number in unlike]
            targets = measure(ran, self._workers, names)
            self._view.step_done(_("pixels compared"))
        with self._timed("draw"):
            self._view.step(_("drawing"), 6)
            pictures = pictures_of(ran, gathered.pictures, self._view.advance)
            self._view.step_done(_("charts and contact sheet drawn"))
        return targets, pictures

    # --- the end --------------------------------------------------------------------------------------------

    def _conclude(self, targets: list[Target], ran: Ran, report: dict[str, Any]) -> None:
        if self._json:
            import json

            print(json.dumps(report, indent=2))
            return
        from labkit.demo.verdict import print_verdict

        print_verdict(targets, ran, report, self._out, self._has_replaced)


def _made_of(gathered: Gathered) -> str:
    n = len(gathered.pictures)
    if gathered.found > n:
        text = _("the first {n} of {found} photographs, scaled to the same size")
    elif gathered.photos == n:
        text = _("{n} photographs, scaled to the same size")
    else:
        text = ngettext(
            "{n} pictures made from {photos} photograph, whole and in parts",
            "{n} pictures made from {photos} photographs, whole and in parts",
            gathered.photos,
        )
    return text.format(n=n, photos=gathered.photos, found=gathered.found)
