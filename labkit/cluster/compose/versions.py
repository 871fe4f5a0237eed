"""Which versions of Docker Compose read the lab's two compose files as they are meant.

Compose 2.20 is the oldest that a present system has as a package, and some later ones have bugs with just
what the files use (``docs/decisions/compose/one-file-to-read.md``).
"""

from __future__ import annotations

import re

from labkit.core.errors import N_

OLDEST = (2, 20)

TOO_OLD = N_("engine {version}, Compose {compose}: the lab's compose files are for 2.20 and newer")
REFUSES = N_(
    "engine {version}, Compose {compose}, which takes the anchors of the lab's compose files for a cycle"
)
NO_ORDER = N_("engine {version}, Compose {compose}, which ignores which service waits for which")

BUGS = (
    ((2, 24, 0), (2, 24, 1), REFUSES),
    ((2, 30, 0), (2, 30, 3), REFUSES),
    ((2, 32, 0), (2, 33, 0), NO_ORDER),
)
"""From a version on, before another: what is wrong."""


def trouble(version: str) -> str:
    """Return what is wrong with this version, a template with ``version`` (the engine's) and ``compose``.

    Empty if nothing is known against it.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        return ""
    numbers = tuple(int(number or 0) for number in found.groups())
    if numbers < OLDEST:
        return TOO_OLD
    return next((what for first, after, what in BUGS if first <= numbers < after), "")
