"""What a process of a cluster prints into its log: neither a full disk nor a peer's text does harm.

A worker's standard output is a file in the run folder. Without this module a task that prints would fail
with OSError, and so would the worker's own messages, because a file that helps to find faults is full. And a
peer's text (a name, an error's message) could hold control characters, which a terminal that shows the log
would obey.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING, TextIO

from labkit.core.names import without_controls
from labkit.support.refusals import NO_MORE_DATA

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_controls(super().format(record))


def log_to_standard_error() -> None:
    """Have this process's log go to its standard error, a line each, without control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Log(io.FileIO):
    """A file that accepts and drops what its disk refuses."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NO_MORE_DATA:
                raise
            return memoryview(data).nbytes


def tolerate_a_full_disk() -> None:
    """Have this process's standard output and standard error drop what the disk refuses."""
    sys.stdout = _tolerant(sys.stdout)
    sys.stderr = _tolerant(sys.stderr)


def _tolerant(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):  # closed by the parent process, or no file
        return stream
    stream.flush()
    return io.TextIOWrapper(
        _Log(descriptor, "wb", closefd=False),  # unbuffered, as with Python's -u
        encoding=stream.encoding,
        errors=stream.errors,
        write_through=True,
    )
