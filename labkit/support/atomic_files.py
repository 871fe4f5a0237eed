"""Writing a file that others read: whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def atomic_write(path: Path, data: bytes | bytearray | memoryview, mode: int = 0o666) -> None:
    """Write ``data`` to ``path``: whoever looks finds the former file or this one, never a part of it.

    ``mode``: its permissions, from its first moment, as far as the umask allows. Raises OSError; then nothing
    is left beside it, and what was there is there still.
    """
    # In the same folder, so that the last step is a rename within one file system, which is atomic.
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.unlink(missing_ok=True)  # left by a process of our number that was killed
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
