"""The floors of ARCHITECTURE.md hold: a module imports lower floors only, and some arrows never exist.

Each source file is parsed, never imported, so an import inside a function counts like one at the top. A
module that stands on no floor fails too: whoever adds one decides where it belongs, here, in one line.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("labkit", "workers", "benchmarks")

FLOORS = {
    "labkit.core": 0,
    "labkit.codec": 1,
    "labkit.credentials": 1,
    "labkit.files": 1,
    "labkit.filters": 1,
    "labkit.i18n": 1,
    "labkit.images": 1,
    "labkit.interrupts": 1,
    "labkit.jobs": 1,
    "labkit.key_folder": 1,
    "labkit.measuring": 1,
    "labkit.numerals": 1,
    "labkit.own_policies": 1,
    "labkit.photos": 1,
    "labkit.pipeline": 1,
    "labkit.settings": 1,
    "labkit.simulation": 1,
    "labkit.futures": 2,
    "labkit.handshakes": 2,
    "labkit.link": 2,
    "labkit.waiting": 2,
    "labkit.broker": 2,
    "labkit.client": 2,
    "labkit.conversation": 2,
    "labkit.event_stream": 2,
    "labkit.mirror": 2,
    "labkit.orphans": 2,
    "labkit.shortcut": 2,
    "labkit.sockets": 2,
    "workers": 2,
    "labkit.cluster": 3,
    "labkit.executors": 3,
    "benchmarks": 4,
    "labkit.charts": 4,
    "labkit.classroom": 4,
    "labkit.cli": 4,
    "labkit.demo": 4,
    "labkit.doctor": 4,
    "labkit.faults": 4,
    "labkit.widgets": 4,
    "labkit": 5,
    "labkit.__main__": 5,
}

# Arrows between neighbours on one floor: who may import whom.
SIDEWAYS = {
    ("labkit.filters", "labkit.images"),
    ("labkit.images", "labkit.files"),
    ("labkit.key_folder", "labkit.files"),
    ("labkit.filters", "labkit.numerals"),
    ("labkit.settings", "labkit.numerals"),
    ("labkit.photos", "labkit.images"),
    ("labkit.jobs", "labkit.filters"),
    ("labkit.jobs", "labkit.images"),
    ("labkit.pipeline", "labkit.filters"),
    ("labkit.pipeline", "labkit.images"),
    ("labkit.pipeline", "labkit.jobs"),
    ("labkit.credentials", "labkit.key_folder"),
    ("labkit.credentials", "labkit.settings"),
    ("labkit.broker", "labkit.waiting"),
    ("labkit.broker", "labkit.sockets"),
    ("labkit.client", "labkit.futures"),
    ("labkit.broker", "labkit.event_stream"),
    ("labkit.event_stream", "labkit.sockets"),
    ("labkit.event_stream", "labkit.waiting"),
    ("labkit.client", "labkit.conversation"),
    ("labkit.conversation", "labkit.link"),
    ("labkit.conversation", "labkit.sockets"),
    ("labkit.conversation", "labkit.waiting"),
    ("labkit.broker", "labkit.shortcut"),
    ("labkit.link", "labkit.shortcut"),
    ("labkit.event_stream", "labkit.handshakes"),
    ("labkit.handshakes", "labkit.waiting"),
    ("labkit.link", "labkit.handshakes"),
    ("labkit.link", "labkit.sockets"),
    ("labkit.link", "labkit.waiting"),
    ("workers", "labkit.link"),
    ("workers", "labkit.orphans"),
    ("labkit.client", "labkit.sockets"),
    ("workers", "labkit.waiting"),
    ("workers", "labkit.sockets"),
    ("labkit.executors", "labkit.cluster"),
    ("labkit.classroom", "labkit.charts"),
    ("labkit.classroom", "labkit.cli"),
    ("labkit.classroom", "labkit.demo"),
    ("labkit.classroom", "labkit.doctor"),
    ("labkit.demo", "labkit.charts"),
    ("labkit.widgets", "labkit.charts"),
    ("labkit.cli", "labkit.charts"),
    ("labkit.cli", "labkit.demo"),
    ("labkit.cli", "labkit.doctor"),
    ("labkit.cli", "labkit.faults"),
    ("labkit.cli", "benchmarks"),
}

# Arrows upwards: a method that is the door to a face of what it belongs to. Only inside a function, so that
# nobody who does not call it loads what is behind it.
LAZY_DOORS = {
    ("labkit.cluster", "labkit.widgets"),
}

# Arrows that never exist, whatever the floors say. ("labkit" also stands for all that is below it.)
FORBIDDEN = {
    "labkit": ("workers",),
    "workers": ("labkit.broker", "labkit.client", "labkit.cluster", "labkit.mirror", "redis"),
    "labkit.broker": ("labkit.mirror", "redis"),
    "labkit.mirror": ("labkit.core.scheduler",),
    "labkit.charts": ("zmq", "redis", "docker"),
    "": ("notebooks", "tests"),
}

NETWORK = {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "zmq", "redis"}
# What would make the core impure: the outside world, clocks, chance and concurrency.
IMPURE = NETWORK | {
    "_thread", "concurrent", "contextvars", "datetime", "fcntl", "glob", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "shutil", "signal", "subprocess",
    "tempfile", "threading", "time", "uuid",
}  # fmt: skip
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__"}


def is_within(module: str, package: str) -> bool:
    return package == "" or module == package or module.startswith(package + ".")


def place_of(module: str) -> str | None:
    """Return the entry of FLOORS that ``module`` belongs to, or None."""
    if module in FLOORS:
        return module
    parents = [name for name in FLOORS if name != "labkit" and is_within(module, name)]
    return max(parents, key=len, default=None)


def modules_under(root: Path) -> dict[str, Path]:
    """Return each source module below ``root`` by its dotted name."""
    found = {}
    for package in SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield (imported module, line); ``from labkit import codec`` imports labkit.codec, not labkit."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".") + ([""] if path.name == "__init__.py" else [])
                origin = ".".join([*parts[: -node.level], *filter(None, [origin])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield (inner if inner in known or inner in FLOORS else origin), node.lineno
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func) and node.args:
            name = node.args[0]  # importlib.import_module("labkit.codec")
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, node.lineno


def violations(root: Path) -> list[str]:
    """Return each broken rule in the tree below ``root`` as a line of text."""
    modules = modules_under(root)
    found = []
    for module, path in modules.items():
        place = place_of(module)
        if place is None:
            found.append(f"{module} is on no floor: give it one in FLOORS")
            continue
        later = lines_not_run_on_import(path)
        for target, line in imports_of(module, path, set(modules)):
            if (place, place_of(target)) in LAZY_DOORS and line in later:
                continue
            where = f"{path.relative_to(root)}:{line}: {module} -> {target}"
            found.extend(f"{where}: {reason}" for reason in objections(module, place, target))
        if place == "labkit.core":
            found.extend(f"{path.relative_to(root)}:{call}" for call in impure_calls(path))
    return found


def lines_not_run_on_import(path: Path) -> set[int]:
    """Return the lines inside of functions, and those that only a type checker reads."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def impure_calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_BUILTINS:
            yield f"{node.lineno}: the core calls {ast.unparse(node.func)}()"


def objections(module: str, place: str, target: str) -> Iterator[str]:
    """Yield why ``module``, which belongs to ``place``, must not import ``target``."""
    top = target.split(".")[0]
    for source, targets in FORBIDDEN.items():
        if is_within(module, source) and any(is_within(target, name) for name in targets):
            yield "this arrow must never exist"
    floor, theirs = FLOORS[place], place_of(target)
    if floor <= 1 and top in NETWORK:
        yield f"floor {floor} has no network"
    if floor == 0 and top in IMPURE - NETWORK:
        yield "the core is pure"
    if floor == 0 and top not in sys.stdlib_module_names and not is_within(target, "labkit.core"):
        yield "the core imports nothing but itself and the standard library"
    if theirs is None and top in SOURCES:
        yield "an arrow to a module on no floor"
    if theirs is not None and theirs != place:
        if FLOORS[theirs] > floor:
            yield f"an arrow upwards, from floor {floor} to floor {FLOORS[theirs]}"
        elif FLOORS[theirs] == floor and (place, theirs) not in SIDEWAYS:
            yield "an arrow sideways that SIDEWAYS does not list"


def test_every_module_imports_lower_floors_only() -> None:
    assert not (found := violations(ROOT)), "\n".join(["", *found])


def test_lab_script_needs_nothing_but_the_standard_library() -> None:
    imported = {name.split(".")[0] for name, _ in imports_of("lab", ROOT / "lab.py", set())}
    assert imported <= sys.stdlib_module_names


def test_no_source_lies_outside_the_checked_folders() -> None:
    elsewhere = {"tests", "notebooks", "docker", "work", "out", "labkit-demo"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    unknown = {name for name in folders - elsewhere - set(SOURCES) if any((ROOT / name).rglob("*.py"))}
    assert not unknown, f"folders with code that no floor covers: {unknown}"


PLANTED = {
    "core uses a clock": ("labkit/core/clock.py", "import time", "the core is pure"),
    "core uses a file": ("labkit/core/file.py", "open('x')", "the core calls open()"),
    "core uses zmq": ("labkit/core/wire.py", "import zmq", "no network"),
    "core uses numpy": ("labkit/core/numbers.py", "import numpy as np", "nothing but itself"),
    "core looks up": ("labkit/core/up.py", "from labkit import codec", "upwards"),
    "relative import": ("labkit/core/relative.py", "from ..codec import encode_value", "upwards"),
    "package's own relative import": ("labkit/core/__init__.py", "from .. import codec", "upwards"),
    "import inside a function": ("labkit/codec.py", "def f():\n    import labkit.cluster.local", "upwards"),
    "import by name": ("labkit/codec.py", "import_module('labkit.cluster')", "upwards"),
    "computation with sockets": ("labkit/filters.py", "import socket", "no network"),
    "unlisted neighbour": ("labkit/filters.py", "import labkit.settings", "sideways"),
    "labkit starts workers by import": ("labkit/cluster/local.py", "import workers.main", "never exist"),
    "worker reads the registry": ("workers/main.py", "from redis import Redis", "never exist"),
    "worker knows the broker": ("workers/main.py", "from labkit.broker import serve", "never exist"),
    "broker knows its mirror": ("labkit/broker/loop.py", "from labkit.mirror import Mirror", "never exist"),
    "mirror as the truth": ("labkit/mirror.py", "from labkit.core.scheduler import Scheduler", "never exist"),
    "charts with a socket": ("labkit/charts.py", "import zmq", "never exist"),
    "code that needs the tests": ("labkit/cli/main.py", "from tests.support import require", "never exist"),
    "module on no floor": ("labkit/helpers.py", "", "on no floor"),
    "arrow to no floor": ("labkit/cli/main.py", "import labkit.helpers", "module on no floor"),
    "lazy door at the top": ("labkit/cluster/base.py", "from labkit.widgets import Panel", "upwards"),
    "door used from inside": ("labkit/cli/main.py", "from labkit import open_cluster", "upwards"),
}


@pytest.mark.parametrize(("file", "code", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, code: str, message: str) -> None:
    plant(tmp_path, "labkit/__init__.py", "")
    plant(tmp_path, "labkit/codec.py", "")
    plant(tmp_path, file, code)
    assert any(message in line for line in violations(tmp_path)), violations(tmp_path)


def test_what_is_allowed_is_not_reported(tmp_path: Path) -> None:
    plant(tmp_path, "labkit/__init__.py", "from labkit.cluster import open_cluster")
    plant(tmp_path, "labkit/core/messages.py", "import struct\nfrom .errors import LabkitError")
    plant(tmp_path, "labkit/core/errors.py", "from typing import Any")
    plant(tmp_path, "labkit/jobs.py", "import time\ndef f():\n    from labkit import filters")
    plant(tmp_path, "labkit/cluster/local.py", "from labkit.client import connect\nfrom . import base")
    plant(tmp_path, "labkit/cluster/base.py", "def panel():\n    from labkit.widgets import Panel")
    plant(tmp_path, "workers/compute.py", "from labkit.core.messages import Payload\nimport zmq")
    assert violations(tmp_path) == []


def plant(root: Path, file: str, code: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
