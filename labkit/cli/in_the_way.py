"""Explains what has an output's name already, and what the user can do about it.

``--overwrite`` replaces files and links. A link is replaced itself: the file that it leads to stays as it is.
A folder, a device, a pipe or a socket is never replaced.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from labkit.core.errors import N_
from labkit.support.i18n import _

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""How files in the formats of results begin."""

EXPLAINED = {
    "result": N_("The result of {input} is {output}: {taken} holds another result (--overwrite replaces it)"),
    "file": N_(
        "The result of {input} is {output}: {taken} is a file, but no picture (--overwrite replaces it)"
    ),
    "unreadable": N_(
        "The result of {input} is {output}: {taken} is a file that cannot be read (--overwrite replaces it)"
    ),
    "protected": N_(
        "The result of {input} is {output}: {taken} is a write-protected file (--overwrite replaces it all "
        "the same)"
    ),
    "link": N_(
        "The result of {input} is {output}: {taken} is a link to {target} (--overwrite replaces the link, "
        "and leaves what it leads to)"
    ),
    "dangling link": N_(
        "The result of {input} is {output}: {taken} is a link to {target} and leads nowhere (--overwrite "
        "replaces it)"
    ),
    "folder": N_(
        "The result of {input} is {output}: {taken} is a folder, which --overwrite does not replace; rename "
        "it, or choose another folder with --out"
    ),
    "special": N_(
        "The result of {input} is {output}: {taken} is a device, a pipe or a socket, which --overwrite does "
        "not replace; remove it, or choose another folder with --out"
    ),
}

STAYS = frozenset({"folder", "special"})
"""The kinds that ``--overwrite`` does not replace."""


def kind_of(path: Path) -> str:
    """Return what has the name ``path``, a key of ``EXPLAINED``; "" if nothing has it."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    except OSError:
        return "unreadable"
    if stat.S_ISLNK(mode):
        return "link" if os.path.exists(path) else "dangling link"
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        return "special"
    try:
        with path.open("rb") as file:
            is_picture = file.read(16).startswith(_PICTURES)
    except OSError:
        return "unreadable"
    if not mode & 0o222:
        return "protected"
    return "result" if is_picture else "file"


def explained(kind: str, source: Path, output: Path, path: Path) -> str:
    """Return the sentence that tells why the result of ``source`` is ``output`` and not ``path``."""
    text = EXPLAINED.get(kind, EXPLAINED["result"])
    target = os.readlink(path) if path.is_symlink() else ""
    return _(text).format(input=source, output=output.name, taken=as_spelt(path), target=target)


def one_name(name: str) -> str:
    """Return the same text for names that some file system takes for one: Cat and cat, both forms of é."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def as_spelt(path: Path) -> str:
    """Return the name of ``path`` as its folder lists it, which may differ in case or in Unicode form."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return path.name
    if path.name in names:
        return path.name
    return next((name for name in names if one_name(name) == one_name(path.name)), path.name)
