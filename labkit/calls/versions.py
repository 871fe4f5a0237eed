"""The version of a learner's module: a digest of its file and of the learners' modules that it imports.

A call carries the version that its sender has loaded. The worker runs exactly that version:

* it has loaded it, now or earlier: it runs it (functions of earlier versions stay usable);
* the files have changed since: it loads them again, into fresh modules, beside tasks that still run in the
  old ones;
* the files are another version: the call fails and names file and remedy.

The sender refuses a function whose files have changed since it imported them. So no batch mixes two versions,
and no process runs another version than the one that is meant. A module that is imported by a computed name
(``importlib.import_module(name)``) is not part of the version, nor is a data file.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from labkit.calls import sources
from labkit.calls.sources import Source

DIGITS = 16
"""Hexadecimal digits of a version."""

lock = threading.RLock()
"""Held while modules are dropped and imported."""


def here(module: str) -> str:
    """Return the version of a learner's ``module`` that this process has; empty for any other module."""
    return _version_here(module) if sources.is_learners(module) else ""


def on_disk(module: str) -> str:
    """Return the version of a learner's ``module`` in its files; empty if there is none."""
    return _version_on_disk(module) if sources.is_learners(module) else ""


def here_if_current(module: str) -> tuple[str, dict[str, Source]]:
    """Return the version that this process has, and the modules whose files have changed since, by name.

    While nothing changes it costs one look at each file and folder concerned. Raises OSError if a file
    cannot be read now; that is not remembered.
    """
    known = _known.get(module)
    if known is None or not known.holds():
        known = _known[module] = _look(module)
    return known.version, known.changed


class _Known(NamedTuple):
    """The version found for a module, and the files and folders on which it depends."""

    version: str
    changed: dict[str, Source]
    load: int
    path: tuple[str, ...]
    signatures: dict[str, sources.Signature | None]
    unsettled: dict[str, object]
    """The contents of the files and folders whose signatures cannot be relied on yet."""
    look_again_at: float

    def holds(self) -> bool:
        return (
            self.load == sources.load_count()
            and self.path == tuple(sys.path)
            and all(sources.signature(path) == then for path, then in self.signatures.items())
            and (
                not self.unsettled
                or (
                    time.monotonic() < self.look_again_at
                    and all(sources.contents(path) == then for path, then in self.unsettled.items())
                )
            )
        )


_known: dict[str, _Known] = {}


def _look(module: str) -> _Known:
    at, load, path = time.monotonic(), sources.load_count(), tuple(sys.path)
    found = _closure(module, _here)
    watched = {source.path for source in found.values()}
    for name, source in found.items():
        watched |= sources.where_files_may_appear({name} | source.imports)
    signatures = {name: sources.signature(name) for name in watched}
    unsettled = {
        name: sources.contents(name)
        for name, signature in signatures.items()
        if not sources.is_settled(name, signature, at)
    }
    changed = {
        name: source
        for name, source in reversed(found.items())  # what is imported comes first
        if (now := sources.on_disk(name)) is None or now.digest != source.digest
    }
    return _Known(_version(found), changed, load, path, signatures, unsettled, at + sources.RACY_S)


def refresh() -> None:
    """Drop each learner's module that its files no longer match; the next import loads it anew."""
    with lock:
        for name in [name for name in list(sources.loaded) if _is_stale(name)]:
            sources.forget(name)


def _is_stale(module: str) -> bool:
    try:
        return _version_here(module) != _version_on_disk(module)
    except OSError:  # a file cannot be read now, so there is nothing newer to load
        return False


def _version_here(module: str) -> str:
    return _version(_closure(module, _here))


def _version_on_disk(module: str) -> str:
    return _version(_closure(module, sources.on_disk))


def _here(module: str) -> Source | None:
    return sources.here(module) or sources.on_disk(module)


def _closure(module: str, source_of: Callable[[str], Source | None]) -> dict[str, Source]:
    """Return ``module`` and the learners' modules that it imports, with the packages above each."""
    found: dict[str, Source] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        above = name.rpartition(".")[0]
        if above:
            waiting.append(above)
        if (source := source_of(name)) is not None:
            found[name] = source
            waiting += source.imports
    return found


def _version(found: dict[str, Source]) -> str:
    if not found:
        return ""
    lines = "".join(f"{name} {found[name].digest}\n" for name in sorted(found))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]
