"""Where the pictures of a request come from: the lab's own photos by name, uploads by id.

Every upload is checked before it is kept, and before it is decoded: format, structure and size, from its own
headers. No picture is fetched from an address that a caller names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import NamedTuple

from labkit.core.errors import N_, ImageError
from labkit.gateway.problems import Problem
from labkit.gateway.spool import ID, Spool
from labkit.imaging import containers, photos

MOST_PIXELS = 25_000_000
MOST_BYTES = 24 << 20
TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
MOST_PICTURES = 500
DEFAULT_PICTURES = 5
SHOWN_PHOTOS = 6
"""So many names of photos stand in an answer."""


class Picture(NamedTuple):
    """A picture that a request asks for: the name by which it is called, and its file's bytes."""

    name: str
    data: bytes


@lru_cache(1)
def _photos() -> dict[str, photos.Photo]:
    return {photo.name: photo for photo in photos.bundled()}


def photo_names() -> list[str]:
    """Return the names of the lab's own photos, in their order."""
    return list(_photos())


def media_type(data: bytes) -> str:
    """Return the media type of a picture file, from its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in TYPES.items() if data.startswith(mark)), "application/octet-stream")


def checked_upload(data: bytes, name: str = "") -> bytes:
    """Return an uploaded file if the lab takes it: PNG, JPEG or WebP, at most 25 megapixels.

    Raises Problem for another format, ImageError for a damaged or a too large picture. Nothing is decoded.
    """
    name = _printable(name) or "image"
    if len(data) > MOST_BYTES:
        raise Problem(
            413,
            "picture-too-large",
            N_("{name} has {bytes} bytes; at most {most} are taken"),
            field="image",
            next_step=N_("send a smaller picture"),
            name=name,
            bytes=len(data),
            most=MOST_BYTES,
        )
    if media_type(data) == "application/octet-stream":
        raise Problem(
            415,
            "picture-format",
            N_("{name} is no PNG, JPEG or WebP picture"),
            field="image",
            allowed=N_("PNG, JPEG or WebP"),
            next_step=N_("save the picture as PNG or JPEG, and send it again"),
            name=name,
        )
    containers.examine(data, name, MOST_PIXELS)
    return data


def _printable(name: str) -> str:
    """Return a caller's file name for a sentence: its last part, printable, at most 60 characters."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:60]


def _shortened(name: str) -> str:
    """Return a caller's name of a picture as it was given, at most 80 characters."""
    return name if len(name) <= 80 else name[:79] + "…"


def chosen(images: Sequence[str] | None, count: int | None, spool: Spool) -> list[Picture]:
    """Return the pictures of a request: those named, or else the lab's own photos, again and again.

    ``count``: how many; None: all that are named, else 5. Raises Problem for a name that is neither a photo's
    nor an upload's.
    """
    own = _photos()
    names = list(images) if images else list(own)
    wanted = count if count is not None else len(names) if images else DEFAULT_PICTURES
    loaded: dict[str, Picture] = {}
    for place, name in enumerate(names[:wanted]):
        if name not in loaded:
            loaded[name] = Picture(name, _data(name, place, spool))
    return [loaded[name] for name in islice(cycle(names[: max(1, min(wanted, len(names)))]), wanted)]


def _data(name: str, place: int, spool: Spool) -> bytes:
    photo = _photos().get(name)
    if photo is not None:
        return photo.bytes()
    if ID.fullmatch(name):
        try:
            return spool.get(name)
        except Problem as problem:
            problem.field = f"images[{place}]"
            raise
    own = photo_names()
    raise Problem(
        422,
        "picture-name",
        N_("{name!r} is neither a photo of the lab nor the id of an upload"),
        field=f"images[{place}]",
        allowed=N_("{photos}, or an id of POST /api/images/"),
        next_step=N_("GET /api/images/ lists both; pictures are never fetched from an address"),
        name=_shortened(name),
        photos=", ".join([*own[:SHOWN_PHOTOS], *(["…"] if len(own) > SHOWN_PHOTOS else [])]),
    )


def readable(data: bytes) -> bool:
    """Return whether a file is a picture that the lab takes."""
    try:
        checked_upload(data)
    except (ImageError, Problem):
        return False
    return True
