"""Takes many pictures through an executor: reads, submits, writes, and keeps account of each.

* A picture that fails, for any reason, is recorded. The others go on.
* Files travel encoded, as they are on disk. The worker decodes and encodes.
* All pictures are handed over at once, up to the tasks and bytes that the broker grants one client
  (``Rules``), so that the queue shows them. Memory is bounded by that, whatever the size of the folder.
* An output appears whole or not at all. Its name combines the input and the filters,
  ``cat-sharpen-edges.png``. If another result has that name already, the output gets a number, unless the
  caller asked to overwrite; a folder or a device of that name always stays. The same run again gives the same
  bytes, which need no second file. No input is ever replaced.

Guarantee: each picture given is either written whole or named among the failed, unless Ctrl-C ends the batch:
then the report holds what was done until then.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from labkit.cli.in_the_way import STAYS, kind_of, one_name
from labkit.core.errors import N_, ClusterNotRunning, ImageError, InvalidInput, LabkitError
from labkit.core.protocol.rules import Rules
from labkit.imaging import image_files, photos
from labkit.imaging.filters import Step
from labkit.imaging.image_files import PictureNote
from labkit.imaging.photos import Skipped
from labkit.jobs import process_encoded
from labkit.support.signals import DeferredSignals, sigint_blocked

MOST_UNDER_WAY = Rules().max_client_tasks
MOST_BYTES_UNDER_WAY = Rules().max_client_bytes
LOOK_EVERY_S = 0.5
MAX_NAME_BYTES = 200
"""Of an output: file systems take 255, and the unfinished file's name is longer."""


@dataclass(frozen=True)
class Written:
    """A picture that was processed and written."""

    source: Path
    output: Path
    worker: str | None
    attempt: int
    instead_of: Path | None = None
    """The usual name of this output, if something else had it."""
    task: str = ""
    """The task's id; empty for an engine whose tasks have none."""
    shared: Path | None = None
    """The usual name of this output, if it belongs to another picture of the same run."""
    shared_with: Path | None = None
    """The picture whose result has that name; None if the name leads to one of the pictures themselves."""
    in_the_way: str = ""
    """What ``instead_of`` was, a key of `labkit.cli.in_the_way.EXPLAINED`."""


@dataclass(frozen=True)
class Failure:
    """A picture that was not processed, and why."""

    source: Path
    error: LabkitError


@dataclass
class Report:
    """The result of a batch. ``ended_by`` is the error that stopped it early, if any."""

    written: list[Written] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    notes: list[PictureNote] = field(default_factory=list)
    """What results do not keep of their pictures."""
    seconds: float = 0.0
    ended_by: LabkitError | None = None
    interrupted: bool = False
    """Whether Ctrl-C ended it; pictures without an outcome are then neither written nor failed."""

    @property
    def total(self) -> int:
        """How many pictures were given."""
        return len(self.written) + len(self.failed)

    @property
    def per_second(self) -> float:
        """Pictures written per second, from the first file read to the last one written."""
        return len(self.written) / self.seconds if self.seconds else 0.0

    def workers(self) -> dict[str, int]:
        """Return how many pictures each worker did; empty for an engine whose workers have no names."""
        names = sorted(done.worker for done in self.written if done.worker)
        return {name: names.count(name) for name in dict.fromkeys(names)}


def find_pictures(
    sources: Iterable[str],
    recursive: bool = False,
    *,
    without: Path | None = None,
    on_skipped: Callable[[Skipped], None] = lambda skipped: None,
) -> tuple[list[Path], list[Failure]]:
    """Return the pictures that ``sources`` (files and folders) name, and the sources that name none.

    No source at all means the lab's own photographs. The other options are those of
    `labkit.imaging.photos.pictures_in`.
    """
    paths: list[Path] = []
    failed: list[Failure] = []
    given: list[str | None] = list(sources)
    for source in given or [None]:
        try:
            if source is not None and Path(source).is_dir():
                folder = Path(source)
                paths += photos.pictures_in(folder, recursive, without=without, on_skipped=on_skipped)
            else:
                paths += [photo.path for photo in photos.load(source)]
        except ImageError as error:
            failed.append(Failure(Path(source or ""), error))
    return list(dict.fromkeys(paths)), failed  # a file named twice is processed once


class Outputs:
    """Names for the outputs in ``folder``: unique, and never the name of an input."""

    def __init__(self, folder: Path, inputs: Iterable[Path], steps: list[Step], suffix: str) -> None:
        self.folder = folder
        self._ending = "-" + "-".join(name for name, _params in steps)
        self._suffix = suffix
        self._inputs = {identity for path in inputs if (identity := _identity(path)) is not None}
        self._given: dict[str, Path] = {}
        """The picture for which each name was given, by what some file systems treat as one name."""
        self._next: dict[str, int] = {}
        """The first number that a name may still be free with: thousands of pictures may have one name."""

    def usual(self, source: Path) -> Path:
        """Return the path that the output of ``source`` has if no other picture has it."""
        return self.folder / f"{_shortened(source.stem + self._ending)}{self._suffix}"

    def holder(self, path: Path) -> Path | None:
        """Return the picture whose output has the name ``path``; None if an input has it."""
        return self._given.get(one_name(path.name))

    def name(self, source: Path) -> Path:
        """Return a new path for the output of ``source``, different at each call."""
        stem = _shortened(source.stem + self._ending)
        number = self._next.get(stem, 1)
        while True:
            name = f"{stem}{f'-{number}' if number > 1 else ''}{self._suffix}"
            path, key = self.folder / name, one_name(name)
            number += 1
            if key not in self._given and _identity(path) not in self._inputs:
                self._given[key] = source
                self._next[stem] = number
                return path


def _identity(path: Path) -> tuple[int, int] | None:
    """Return (device, inode), equal for two names of one file, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    return os.fsdecode(encoded[:MAX_NAME_BYTES].decode("utf-8", "ignore").encode())


def make_folder(folder: Path) -> None:
    """Create the folder for the outputs. Raises InvalidInput if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # it can be written to
    except FileExistsError as error:
        raise InvalidInput(
            N_("{path} is not a folder; choose another with --out"), path=str(folder)
        ) from error
    except OSError as error:
        raise _cannot_write(folder, error.strerror or str(error)) from error


def _cannot_write(folder: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        N_("cannot write to {path}: {reason}; choose another folder with --out"),
        path=str(folder),
        reason=reason,
    )


class _UnderWay(NamedTuple):
    source: Path
    output: Path
    size: int


class Batch:
    """One batch on its way through ``executor``.

    ``on_progress(report)`` is called whenever a picture is done or has failed. ``on_wait()`` is called from
    time to time while no picture finishes; it may raise ClusterNotRunning to end the batch. With
    ``overwrite``, an output replaces an earlier result of the same name. ``background`` and ``strip`` are
    those of `labkit.jobs.process_encoded`.
    """

    def __init__(
        self,
        executor: Executor,
        steps: list[Step],
        outputs: Outputs,
        format: str,
        on_progress: Callable[[Report], None] = lambda report: None,
        on_wait: Callable[[], None] = lambda: None,
        overwrite: bool = False,
        background: str = "white",
        strip: bool = False,
    ) -> None:
        self._executor = executor
        self._steps = steps
        self._outputs = outputs
        self._format = format
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._overwrite = overwrite
        # What is as usual does not travel.
        self._encoding: dict[str, Any] = {"background": background} if background != "white" else {}
        if strip:
            self._encoding["strip"] = True
        self._under_way: dict[Future[Any], _UnderWay] = {}
        self._bytes_under_way = 0
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        """Futures with an outcome, in its order: looking through all open ones would cost their square."""
        self.report = Report()

    def run(self, pictures: Iterable[Path]) -> Report:
        """Process the pictures and return the report once each of them has its outcome."""
        began = time.monotonic()
        pictures = list(pictures)
        left = pictures[::-1]
        try:
            while left:
                self._submit(left.pop())
                self._collect(0.0)
                while self._is_full():
                    self._collect(LOOK_EVERY_S)
            while self._under_way:
                self._collect(LOOK_EVERY_S)
        except ClusterNotRunning as error:
            self.report.ended_by = error
            for source in [*(each.source for each in self._under_way.values()), *left]:
                self.report.failed.append(Failure(source, error))
            self._under_way.clear()
        except KeyboardInterrupt:
            self.report.interrupted = True
            self._under_way.clear()
        self.report.seconds = time.monotonic() - began
        place = {source: number for number, source in enumerate(pictures)}
        self.report.written.sort(key=lambda done: place[done.source])
        self.report.failed.sort(key=lambda failure: place[failure.source])
        return self.report

    def _is_full(self) -> bool:
        return len(self._under_way) >= MOST_UNDER_WAY or self._bytes_under_way >= MOST_BYTES_UNDER_WAY

    def _submit(self, source: Path) -> None:
        try:
            data = image_files.read_bytes(source)
            with sigint_blocked():
                future = self._executor.submit(
                    process_encoded, data, self._steps, self._format, **self._encoding
                )
        except LabkitError as error:
            self._fail(source, error)
        else:
            # Names are given in input order, so a second run gives the same names.
            self.report.notes += image_files.notes(
                data, str(source), self._format, strip="strip" in self._encoding
            )
            self._under_way[future] = _UnderWay(source, self._outputs.name(source), len(data))
            self._bytes_under_way += len(data)
            future.add_done_callback(self._done.put)

    def _collect(self, timeout_s: float) -> None:
        """Collect finished pictures; wait at most ``timeout_s`` for the first one."""
        if not self._under_way:
            return
        try:
            future = self._done.get(timeout=timeout_s) if timeout_s else self._done.get_nowait()
        except Empty:
            if timeout_s:
                self._on_wait()
            return
        while True:
            with DeferredSignals(
                _look_later
            ):  # Ctrl-C between a file and its line would make the line untrue
                each = self._under_way.pop(future)
                self._bytes_under_way -= each.size
                self._take(future, each.source, each.output)
            try:
                future = self._done.get_nowait()
            except Empty:
                return

    def _take(self, future: Future[Any], source: Path, output: Path) -> None:
        try:
            data = future.result()
        except LabkitError as error:
            self._fail(source, _with_file_name(source, error))
            return
        except CancelledError:
            self._fail(source, ImageError(N_("{path}: cancelled"), path=str(source)))
            return
        try:
            written, in_the_way = self._write(source, output, data)
        except ImageError as error:
            self._fail(source, error)
            return
        worker, attempt = getattr(future, "worker", None), getattr(future, "attempt", 1)
        instead_of = None if written == output else output
        task = getattr(future, "task_id", "")
        usual = self._outputs.usual(source)
        shared = usual if instead_of is None and written != usual else None
        holder = None if shared is None else self._outputs.holder(shared)
        self.report.written.append(
            Written(source, written, worker, attempt, instead_of, task, shared, holder, in_the_way)
        )
        self._on_progress(self.report)

    def _write(self, source: Path, output: Path, data: bytes) -> tuple[Path, str]:
        """Write the output; return its path, and what had the name ``output`` if that is another path."""
        in_the_way = ""
        if self._overwrite:
            while (kind := kind_of(output)) in STAYS:
                in_the_way = in_the_way or kind
                output = self._outputs.name(source)
            image_files.write_bytes(output, data)
            return output, in_the_way
        while not image_files.write_new_bytes(output, data):
            in_the_way = in_the_way or kind_of(output)
            output = self._outputs.name(source)
        return output, in_the_way

    def _fail(self, source: Path, error: LabkitError) -> None:
        self.report.failed.append(Failure(source, error))
        self._on_progress(self.report)


def _look_later() -> None:
    """Do nothing: the picture is written within milliseconds, and then the signal takes effect."""


def _with_file_name(source: Path, error: LabkitError) -> LabkitError:
    """Return the reason why the picture could not be processed, with the name of the file.

    A worker gets the bytes only, and its errors are in English. Decoding the file again here fails the same
    way, but this error has the file's name and the reader's language.
    """
    if not isinstance(error, ImageError):
        return error
    try:
        image_files.read(source)
    except ImageError as same:
        return same
    return error
