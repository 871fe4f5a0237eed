"""The demo's input: ninety pictures made from real photographs, each processed several times.

The lab includes eighteen photographs, and users may bring any number of any size. The demo needs enough
pictures to keep three workers busy for some seconds, each about the same amount of work, so that equal shares
mean something. Every picture is therefore a *framing* of a photograph: the whole, or a part of it, scaled to
the same number of pixels and stored as a JPEG file, as a camera would.

* The first framing of a photo is the whole; then come its corners, then smaller and smaller parts. With
  ninety photos or more, only whole ones are used.
* A photo that cannot be read is reported, and the others replace it.
* Every picture is processed ``rounds`` times, more often on a faster machine.

Nothing is random: the same photos make the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from labkit.core.errors import N_, ImageError
from labkit.imaging import image_files
from labkit.imaging.filters import Step, parse_steps
from labkit.imaging.image_files import PictureNote
from labkit.imaging.photos import Photo

if TYPE_CHECKING:
    import numpy as np

FILTERS = ("sharpen", "edges")
PARAMS = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}

PICTURES = 90
PIXELS = 1_500_000
QUALITY = 90
FEWEST_ROUNDS, MOST_ROUNDS = 2, 8

# Width and height of the part, its place from left to right and from top to bottom, all from 0 to 1.
_FRAMINGS = (
    (1.0, 0.0, 0.0),
    *((0.75, x, y) for x, y in ((0, 0), (1, 1), (1, 0), (0, 1))),
    (0.6, 0.5, 0.5),
    *((0.5, x, y) for x, y in ((0, 0), (1, 1), (1, 0), (0, 1))),
)


class Picture(NamedTuple):
    """One picture: its name ("coffee/2": the second framing of coffee), and its file's bytes."""

    name: str
    data: bytes


class Failure(NamedTuple):
    """A photo that could not be used, and why."""

    photo: Photo
    error: ImageError


class Gathered(NamedTuple):
    """The pictures, the numbers of photographs used and found, and the photographs that failed.

    ``notes`` name the photographs of several frames, of which the first is used.
    """

    pictures: list[Picture]
    photos: int
    found: int
    failed: list[Failure]
    notes: list[PictureNote]


def steps() -> list[Step]:
    """Return the filters that the demo applies, ready to travel."""
    return parse_steps(FILTERS, PARAMS)


def gather(
    photos: Sequence[Photo], wanted: int = PICTURES, on_progress: Callable[[int], None] = lambda made: None
) -> Gathered:
    """Return ``wanted`` pictures made from ``photos``: first every photo as a whole, then their parts.

    Raises ImageError if no photo at all can be read.
    """
    made: list[tuple[int, int, Picture]] = []  # framing, photo, picture
    failed: list[Failure] = []
    notes: list[PictureNote] = []
    usable = list(enumerate(photos[:wanted]))
    framings = 0
    while usable and len(made) < wanted:
        more = math.ceil((wanted - len(made)) / len(usable))
        for number, photo in list(usable):
            try:
                data = photo.bytes()
                image = image_files.decode(data, name=str(photo.path))
            except ImageError as error:
                failed.append(Failure(photo, error))
                usable.remove((number, photo))
                continue
            if not framings:
                notes += [
                    note for note in image_files.notes(data, str(photo.path)) if "frames" in note.params
                ]
            for framing in range(framings, framings + more):
                name = f"{_shown(photo.name)}/{framing + 1}" if framing else _shown(photo.name)
                made.append((framing, number, Picture(name, _framed(image, framing))))
                on_progress(min(len(made), wanted))
        framings += more
    if not made:
        raise ImageError(
            N_("none of the {n} pictures can be used; the first: {error}"),
            n=len(photos),
            error=failed[0].error,
        )
    made.sort(key=lambda each: each[:2])
    used = made[:wanted]
    return Gathered(
        [picture for _, _, picture in used],
        len({number for _, number, _ in used}),
        len(photos),
        failed,
        notes,
    )


def rounds_for(seconds: float, wanted_s: float, at_once: int) -> int:
    """Return how often to process pictures that take ``seconds`` in a plain loop, to take ``wanted_s`` in all
    when ``at_once`` are processed at a time."""
    return min(max(round(wanted_s * at_once / seconds), FEWEST_ROUNDS), MOST_ROUNDS)


def _shown(name: str) -> str:
    """Return a file's name without characters that control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _framed(image: np.ndarray, framing: int) -> bytes:
    """Return a framing of ``image``, scaled to ``PIXELS`` pixels, as a JPEG file."""
    import cv2

    image = image_files.flattened(image)  # JPEG knows no transparency
    part, right, down = _place(framing)
    height, width = (max(1, round(side * part)) for side in image.shape[:2])
    top = round((image.shape[0] - height) * down)
    left = round((image.shape[1] - width) * right)
    scale = math.sqrt(PIXELS / (width * height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cut = cv2.resize(image[top : top + height, left : left + width], size, interpolation=how)
    return image_files.encode(cut, "jpeg", QUALITY)


def _place(framing: int) -> tuple[float, float, float]:
    if framing < len(_FRAMINGS):
        return _FRAMINGS[framing]
    # Steps of irrational numbers spread points evenly, however many there are.
    return 0.4 + 0.5 * (framing * 0.7548777 % 1), framing * 0.6180340 % 1, framing * 0.5698403 % 1
