"""The colours of charts, panel and terminal. No drawing library is imported here.

* The colours are those of Okabe and Ito, which people with any colour blindness tell apart.
* A worker has the same colour everywhere and in every run.
* Vermillion belongs to faults alone.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

import re
from zlib import crc32

ORANGE, SKY_BLUE, GREEN = "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

WORKER_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, YELLOW)
FAULT = VERMILLION
INK = "#262626"
PALE = "#767676"
GRID = "#E5E5E5"


def worker_colour(name: str) -> str:
    """Return the colour of a worker, as ``#rrggbb``: the same for the same name in every chart and process.

    worker-1 to worker-6 have the six colours. From worker-7 on they repeat, first darker, then paler. Elastic
    workers in containers (labkit-worker-1 ...) come after the three named ones. A name without a number gets
    a colour from its checksum.
    """
    digits = re.search(r"(\d{1,9})$", name)
    number = int(digits.group()) - 1 if digits else crc32(name.encode("utf-8", "surrogatepass"))
    if digits and re.fullmatch(r".+-worker-\d+", name):
        number += 3
    cycle, which = divmod(number, len(WORKER_COLOURS))
    strength, towards = ((0.0, 0.0), (0.45, 0.0), (0.55, 1.0))[cycle % 3]
    return mixed(WORKER_COLOURS[which], towards, strength)


def mixed(colour: str, towards: float, strength: float) -> str:
    """Return ``colour`` mixed with ``strength`` (0 to 1) parts of black (``towards`` 0.0) or white (1.0)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return "#" + "".join(f"{round((part + (towards - part) * strength) * 255):02x}" for part in parts)
