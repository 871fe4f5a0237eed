"""Atomic writes: other processes see the whole file or the former one, never a part."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def atomic_write(path: Path, data: bytes | bytearray | memoryview, mode: int = 0o666) -> None:
    """Write ``data`` to ``path`` atomically: a reader finds the former file or the new one, never a part of
    it.

    ``mode`` is the file's permissions from the moment it exists, within the umask. Raises OSError; the former
    file is then unchanged, and no temporary file remains.
    """
    # In the same folder, so that the last step is a rename within one file system, which is atomic.
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.unlink(missing_ok=True)  # left by a killed process that had our number
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
