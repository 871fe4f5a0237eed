"""A learner's modules as source files: what this process has loaded, and what is on disk now.

Python loads a module once, and compares a compiled file with its source by seconds and size only. Both hide
an edit. So learners' modules (``work`` and below, and modules beside it that they import) are loaded by a
loader of our own: it always compiles the source, and remembers the digest of the bytes that it compiled.

Rules:

* A digest does not depend on where the file lies, nor on its line ends: two machines agree on it.
* A file is read again if its size, times or inode differ from the last reading, and also while they have been
  known for less than ``RACY_S``: the clock of a file system is coarse, and two edits may look alike.
* A module that was loaded before the loader was installed is taken for what is on disk if its functions are
  those of the file. Otherwise its digest is `UNKNOWN`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.machinery
import os
import sys
import time
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RACY_S = 2.0
UNKNOWN = "unknown"
"""The digest of a module whose loaded source this process does not know."""
_OURS = frozenset({"labkit", "workers", "benchmarks"})

Signature = tuple[int, int, int, int]


class Source(NamedTuple):
    """One file: its digest, and the names of the modules that it may import."""

    path: str
    digest: str
    imports: frozenset[str]


loaded: dict[str, Source] = {}
"""By module: what this process has loaded."""
_loads = 0
_roots: set[str] = {"work"}
_found_in: dict[str, tuple[tuple[str, ...], list[str]]] = {}
"""By top-level module: ``sys.path``, and its folders that hold the module."""
_folders: set[str] = set()
"""The folders in which the learners' modules were found: what lies beside them is a learner's, too."""
_read: dict[str, tuple[Signature, bool, Source]] = {}
"""By path: its signature when it was read, whether it was settled then, and what was found."""
_first_seen: dict[str, tuple[Signature | None, float]] = {}
"""By path: its present signature, and when it was first seen (monotonic)."""


def watch(modules: Sequence[str] = ()) -> None:
    """Load the learners' modules, and ``modules``, by the loader of this module from now on."""
    _roots.update({name.partition(".")[0] for name in modules} - _OURS)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        at = next((n for n, f in enumerate(sys.meta_path) if f is importlib.machinery.PathFinder), 0)
        sys.meta_path.insert(at, _Finder())
    for name in list(sys.modules):
        if name.partition(".")[0] in _roots:
            here(name)


def here(module: str) -> Source | None:
    """Return the source from which this process has loaded ``module``; None if it has not, or needs none."""
    present = sys.modules.get(module)
    if present is None:
        return None
    known = loaded.get(module)
    path = _names_in(present).get("__file__")
    if known is None or known.path != path:
        if type(path) is not str or not path.endswith(".py") or not _may_be_learners(module):
            return None  # a namespace package, or made by hand
        known = _adopted(module, present, path)
        _remember(module, known)
    return known


def _names_in(module: object) -> dict[str, Any]:
    """Return the names of a module; none if a learner has put another object in its place.

    That object's own code does not run here: it may raise anything.
    """
    if not issubclass(type(module), types.ModuleType):
        return {}
    names: dict[str, Any] = vars(types.ModuleType)["__dict__"].__get__(module)
    return names


def _remember(module: str, source: Source | None) -> None:
    global _loads
    _loads += 1
    if source is None:
        loaded.pop(module, None)
    else:
        loaded[module] = source


def _may_be_learners(module: str) -> bool:
    top = module.partition(".")[0]
    return top in _roots or (
        top not in _OURS
        and top not in sys.stdlib_module_names
        and any(_holds_module(folder, top) for folder in _folders)
    )


def is_learners(module: str) -> bool:
    """Return whether ``module`` is, or lies below, a learner's module."""
    return module.partition(".")[0] in _roots


def on_disk(module: str) -> Source | None:
    """Return the source of a learner's ``module`` as it is on disk now; None if there is none.

    Raises OSError if the file is there, but cannot be read now: that does not mean that it has changed.
    """
    known = here(module)
    if known is not None:
        return _source(module, known.path)
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in _OURS:
        return None
    tail = module.replace(".", os.sep)
    for folder in _places(top):
        for path in (os.path.join(folder, tail, "__init__.py"), os.path.join(folder, tail + ".py")):
            if (source := _source(module, path)) is not None:
                return source
    return None


def places(module: str) -> list[str]:
    """Return the folders in which this process looks for a learner's ``module``."""
    return [os.path.abspath(folder) for folder in _places(module.partition(".")[0])]


def forget(module: str) -> None:
    """Drop a loaded module, so that the next import loads it again; its functions stay usable."""
    _remember(module, None)
    dropped = sys.modules.pop(module, None)
    parent, _, child = module.rpartition(".")
    if dropped is not None and _names_in(sys.modules.get(parent)).get(child) is dropped:
        delattr(sys.modules[parent], child)  # otherwise "from work import blur" would find it there


def load_count() -> int:
    """Return a number that changes whenever a learner's module is loaded or dropped."""
    return _loads


def signature(path: str) -> Signature | None:
    """Return what changes when a file or folder does; None if it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns


def is_settled(path: str, signature: Signature | None, at: float) -> bool:
    """Return whether any change after ``at`` (monotonic), when it was read, gives another signature.

    It does if this signature had been seen ``RACY_S`` earlier.
    """
    seen = _first_seen.get(path)
    if seen is None or seen[0] != signature:
        _first_seen[path] = signature, at
        return signature is None
    return signature is None or at >= seen[1] + RACY_S


def contents(path: str) -> object:
    """Return the digest of a file, or the names in a folder; None if it is not there."""
    try:
        return frozenset(os.listdir(path)) if os.path.isdir(path) else _digest(Path(path).read_bytes())
    except OSError:
        return None


def where_files_may_appear(modules: Iterable[str]) -> set[str]:
    """Return the files and folders whose signatures change if a source of one of these modules appears."""
    found = set()
    for module in modules:
        top, *below = module.split(".")
        for folder in _places(top):
            at = os.path.join(folder, top)
            found |= {at, at + ".py"}
            for step in below[:-1]:
                at = os.path.join(at, step)
                found.add(at)
    return found


# --- files --------------------------------------------------------------------------------------------------


def _places(top: str) -> Sequence[str]:
    """Return the folders that may hold the top-level module ``top``."""
    if top not in _roots:
        return [folder for folder in _folders if _holds_module(folder, top)]
    path, found = _found_in.get(top, ((), []))
    if path != tuple(sys.path) or not found or not all(_holds_module(folder, top) for folder in found):
        found = [entry for entry in sys.path if _holds_module(entry or os.getcwd(), top)]
        _found_in[top] = tuple(sys.path), found
        _folders.update(found)
    return found


def _holds_module(folder: str, top: str) -> bool:
    return os.path.isdir(os.path.join(folder, top)) or os.path.isfile(os.path.join(folder, top + ".py"))


def _source(module: str, path: str) -> Source | None:
    now = signature(path)
    if now is None:
        return None
    known = _read.get(path)
    if known is not None and known[:2] == (now, True):
        return known[2]
    settled = is_settled(path, now, time.monotonic())
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    digest = _digest(data)
    if known is None or known[2].digest != digest:
        source = Source(path, digest, _imports(module, path, data))
    else:
        source = known[2]
    _read[path] = now, settled, source
    return source


def _digest(data: bytes) -> str:
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()


def _imports(module: str, path: str, data: bytes) -> frozenset[str]:
    """Return the modules that this source may import, wherever in it; none if it cannot be parsed."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    package = module if os.path.basename(path) == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            steps = package.split(".")
            above = ".".join(steps[: len(steps) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    return frozenset(
        name
        for name in names
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names | _OURS and top
    )


# --- loading ------------------------------------------------------------------------------------------------


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what Python's own finder finds, with our loader for learners' modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _may_be_learners(name):
            return None
        top = name.partition(".")[0]
        _places(top)  # so that modules beside a learner's are known, too
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
            spec.cached = None
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the source each time, without a cache, and remembers what it compiled."""

    _compiled: bytes | None = None

    def get_code(self, fullname: str) -> types.CodeType:
        data = self.get_data(self.path)
        code: types.CodeType = self.source_to_code(data, self.path)
        self._compiled = data
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        self._compiled = None
        try:
            super().exec_module(module)
        except BaseException:
            if self._compiled is not None and name in loaded:  # a reload that ended half-way
                _remember(name, loaded[name]._replace(digest=UNKNOWN))
            raise
        data = self._compiled or b""
        _remember(name, Source(self.path, _digest(data), _imports(name, self.path, data)))


def _adopted(name: str, module: types.ModuleType, path: str) -> Source:
    """Return what to remember of a module that Python's own loader has loaded."""
    unknown = Source(path, UNKNOWN, frozenset())
    try:
        source = _source(name, path) or unknown
    except OSError:
        return unknown
    return source if _holds(module, path) else source._replace(digest=UNKNOWN)


def _holds(module: types.ModuleType, path: str) -> bool:
    """Return whether the functions of ``module`` are those of the file."""
    try:
        waiting: list[types.CodeType] = [compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)]
    except (OSError, SyntaxError, ValueError):
        return False
    codes = set()
    while waiting:
        code = waiting.pop()
        codes.add(code)
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    own = [
        thing.__code__
        for thing in _names_in(module).values()
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == path
    ]
    return codes.issuperset(own)
