"""Atomic writes: other processes see the whole file or the former one (or none), never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path


def atomic_write(path: Path, data: bytes | bytearray | memoryview, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` atomically: a reader finds the former file or the new one, never a part of
    it.

    ``mode`` is the file's permissions from the moment it exists, within the umask. Raises OSError; the former
    file is then unchanged, and no temporary file remains.
    """
    with _naming(path), _part(path, data, mode) as part:
        part.replace(path)


def atomic_write_new(path: Path, data: bytes | bytearray | memoryview, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` atomically if nothing has that name; raise FileExistsError otherwise.

    Of several programs that write the same name at once, one succeeds. Also raises OSError.
    """
    with _naming(path), _part(path, data, mode) as part:
        try:
            os.link(part, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # FAT and some network drives have no hard links. Reserve the name, then replace the empty file.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            try:
                part.replace(path)
            except OSError:
                path.unlink(missing_ok=True)
                raise


_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an OSError name ``path``, because the temporary file means nothing to people."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextlib.contextmanager
def _part(path: Path, data: bytes | bytearray | memoryview, mode: int) -> Iterator[Path]:
    """Yield a finished temporary file with ``data`` beside ``path``; remove it at the end."""
    # In the same folder, so that the last step is a rename within one file system, which is atomic.
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.unlink(missing_ok=True)  # left by a killed process that had our number
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        yield part
    finally:
        part.unlink(missing_ok=True)
