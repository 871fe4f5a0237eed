"""A page of a TIFF file, as its directory describes it."""

from __future__ import annotations

import io

PLAIN, DEFLATED = 1, (8, 32946)
"""Kinds of compression that are decoded without OpenCV."""
WHOLE, SIGNED = 1, 2
"""Kinds of numbers. All others are fractions, or unknown."""


class Page:
    """The first page of the file ``data``. Raises what Pillow raises for damaged files."""

    def __init__(self, data: bytes) -> None:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        file = io.BytesIO(data)
        self.head = data[:16] if data[2] == 43 else data[:8]
        directory = ImageFileDirectory_v2(self.head)
        self.at = directory.next
        file.seek(self.at)
        directory.load(file)
        self.tags = directory
        self.width, self.height = self.first(256), self.first(257)
        self.bits = max(self.numbers(258) or (1,))
        self.colours = self.first(262)
        self.samples = self.first(277, 1)
        self.in_planes = self.first(284, 1) == 2 and self.samples > 1
        self.extra = self.numbers(338)
        self.orientation = self.first(274, 1)
        self.compression = self.first(259, PLAIN)
        starts, sizes = self.numbers(273) or self.numbers(324), self.numbers(279) or self.numbers(325)
        self.strips = list(zip(starts, sizes, strict=True))
        """Of strips or tiles: where each begins, and its bytes."""
        self.format = self.first(339, WHOLE)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag, none if it is missing."""
        value = self.tags.get(tag, ())
        return tuple(int(each) for each in (value if isinstance(value, tuple) else (value,)))

    def first(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        return (self.numbers(tag) or (default,))[0]
