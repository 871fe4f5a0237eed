"""The files of a demo: charts, contact sheet, history and ``report.json``, none of them ever half-written.

All contents are made in memory first. Then each file is written under a temporary name beside its place. When
all are written, they are renamed, one right after the other. A demo that is interrupted before that leaves
the files of the previous run untouched.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkit import charts
from labkit.charts import Chart
from labkit.core.errors import N_, InvalidInput
from labkit.demo.batch import Gathered, Picture
from labkit.demo.reference import Reference
from labkit.demo.run import VICTIM, Ran
from labkit.demo.sheet import choose, contact_sheet
from labkit.demo.story import recovery_of
from labkit.demo.targets import Target, chain_numbers

PART = ".part"
CHARTS = ("overview", "throughput", "gantt", "recovery", "share")


class OutFolder:
    """The folder that the files go to. ``prepare`` makes it; one that stays empty is removed again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Path] = []

    @contextmanager
    def prepared(self) -> Iterator[OutFolder]:
        """Make the folder if need be. Raises InvalidInput if nothing can be written there."""
        try:
            self._make()
            yield self
        finally:
            for folder in reversed(self._made):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _make(self) -> None:
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            for folder in reversed(missing):
                folder.mkdir()
                self._made.append(folder)
            with tempfile.TemporaryFile(dir=self.path):
                pass  # it can be written to
        except OSError as error:
            raise InvalidInput(
                N_("cannot write to {path}: {reason}; choose another folder with --out"),
                path=str(self.path),
                reason=error.strerror or str(error),
            ) from error

    def write(self, files: dict[str, bytes]) -> bool:
        """Write the files; each replaces its predecessor. Return whether one had a predecessor.

        Raises InvalidInput if one cannot be written.
        """
        had_files = any(os.path.lexists(self.path / name) for name in files)
        parts = {name: self.path / f".{name}.{os.getpid()}{PART}" for name in files}
        try:
            for name, data in files.items():
                parts[name].write_bytes(data)
            for name, part in parts.items():
                part.replace(self.path / name)
            return had_files
        except OSError as error:
            raise InvalidInput(
                N_("the results cannot be written to {path}: {reason}; --out names another folder"),
                path=str(self.path),
                reason=error.strerror or str(error),
            ) from error
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def pictures_of(
    ran: Ran, pictures: list[Picture], on_progress: Callable[[int], None] = lambda drawn: None
) -> dict[str, bytes]:
    """Return the charts and the contact sheet as PNG files by name."""
    chain = recovery_of(ran.history, VICTIM)
    until = chain.fault_at if chain else None
    drawn: dict[str, Callable[[], Chart]] = {
        "overview": lambda: charts.overview(ran.history),
        "throughput": lambda: charts.throughput(ran.history),
        "gantt": lambda: charts.gantt(ran.history),
        "recovery": lambda: charts.recovery(ran.history),
        "share": lambda: charts.share(ran.history, since=ran.submitted_at, until=until),
        "contact-sheet": lambda: contact_sheet(choose(ran, pictures)),
    }
    files = {}
    for name, draw in drawn.items():
        png = io.BytesIO()
        draw().save(png)
        files[f"{name}.png"] = png.getvalue()
        on_progress(len(files))
    return files


def summary(
    gathered: Gathered,
    rounds: int,
    reference: Reference,
    ran: Ran,
    targets: list[Target],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Return the report, ready for JSON. English, whatever the reader's language is."""
    chain = recovery_of(ran.history, VICTIM)
    done = [event.at - ran.history.began_at for event in ran.history.events if event.kind == "done"]
    took_s = max(done) - ran.submitted_at
    return {
        "passed": all(target.met for target in targets),
        "targets": [
            {"id": target.id, "title": target.title, "passed": target.met, **target.numbers}
            for target in targets
        ],
        "recovery": chain_numbers(chain) if chain else None,
        "batch": {
            "photographs": gathered.photos,
            "pictures": len(gathered.pictures),
            "rounds": rounds,
            "tasks": len(ran.names),
            "filters": "sharpen, edges",
            "photographs_found": gathered.found,
            "unusable": [
                {"photo": str(failure.photo.path), "error": str(failure.error)} for failure in gathered.failed
            ],
        },
        "speed": {
            "sequential_per_s": round(reference.per_s, 2),
            "cluster_per_s": round(len(done) / took_s, 2),
            "cluster_s": round(took_s, 3),
        },
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }


def report_file(report: dict[str, Any]) -> bytes:
    """Return the report as the bytes of ``report.json``."""
    return (json.dumps(report, indent=2) + "\n").encode()
