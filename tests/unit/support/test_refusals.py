"""What the operating system refuses is named, with its file and the next step."""

from __future__ import annotations

import errno

import pytest
import zmq

from labkit.support import i18n
from labkit.support.i18n import translate_error
from labkit.support.refusals import is_about_files, refusal


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "No space is left"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "reports an error"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "Too many files"),
        (errno.ENOMEM, "no memory"),
        (errno.ESTALE, "network drive"),
    ],
)
def test_each_refusal_is_named_with_its_file(number: int, says: str) -> None:
    refused = refusal(OSError(number, "as the system says", "/mine/file"))
    assert refused is not None and says in str(refused) and str(refused).startswith("/mine/file: ")
    bare = refusal(OSError(number, "as the system says"))
    assert bare is not None and says in str(bare)


def test_a_refusal_is_told_in_spanish() -> None:
    refused = refusal(OSError(errno.EDQUOT, "Disk quota exceeded", "/mine/file"))
    assert refused is not None
    i18n.set_language("es")
    assert "cuota" in translate_error(refused) and "/mine/file" in translate_error(refused)


def test_zeromqs_errors_count() -> None:
    refused = refusal(zmq.ZMQError(errno.EMFILE))
    assert refused is not None and "ulimit -n" in str(refused)


@pytest.mark.parametrize(
    "error", [ValueError("no"), OSError("without a number"), OSError(errno.EINVAL, "no")]
)
def test_other_errors_are_no_refusals(error: Exception) -> None:
    assert refusal(error) is None


def test_another_folder_helps_against_a_full_disk_only() -> None:
    assert is_about_files(OSError(errno.ENOSPC, "")) and is_about_files(OSError(errno.EACCES, ""))
    assert not is_about_files(OSError(errno.EMFILE, "")) and not is_about_files(OSError(errno.ENOMEM, ""))
