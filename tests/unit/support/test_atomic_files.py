"""A written file is there completely, or as it was before."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from labkit.support.atomic_files import atomic_write


def test_a_write_replaces_the_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "told"
    for data in (b"first", bytearray(b"second"), memoryview(b"third")):
        atomic_write(path, data)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"told": b"third"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_written_file_has_the_given_or_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        atomic_write(tmp_path / "secret", b"", 0o600)
        atomic_write(tmp_path / "public", b"")
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "public": 0o644}


def test_a_full_disk_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "told"
    atomic_write(path, b"first")

    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, b"second")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"told": b"first"}


def test_a_part_left_by_a_killed_process_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / f".told.{os.getpid()}-{threading.get_ident()}.part").write_bytes(b"hal")
    atomic_write(tmp_path / "told", b"whole")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"told": b"whole"}
