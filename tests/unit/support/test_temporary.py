"""Without a folder for temporary files, what is optional does without, and what needs one names the cause."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from labkit.support import temporary


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every folder for temporary files unusable."""

    def refuse() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", refuse)


def test_what_is_optional_gets_nothing(nowhere: None) -> None:
    assert temporary.folder() is None
    assert temporary.left_behind("labkit-") == []


def test_what_needs_a_folder_names_the_cause_and_the_remedy(nowhere: None) -> None:
    with pytest.raises(temporary.NoTemporaryFolder, match=r"No usable.*TMPDIR"):
        temporary.needed_folder()
    with pytest.raises(temporary.NoTemporaryFolder), temporary.new_folder():
        pass


def test_with_a_folder_all_is_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "labkit-1").mkdir()
    assert temporary.folder() == temporary.needed_folder() == tmp_path
    assert temporary.left_behind("labkit-") == [tmp_path / "labkit-1"]
    with temporary.new_folder() as folder:
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)


def test_an_error_of_the_work_inside_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), temporary.new_folder():
        raise OSError(errno.ENOSPC, "the disk is full")
