"""The rooms of ARCHITECTURE.md hold: a module imports what its room may import, and nothing runs in a circle.

Each source file is parsed, never imported, so an import inside a function counts like one at the top. A
module in no room fails too: its author decides where it belongs, in ``tests/tools/source_tree.py``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.source_tree import (
    CORE_ROOMS,
    LAZY_DOORS,
    ROOMS,
    ROOT,
    SOURCES,
    allowed,
    circles,
    imports_of,
    modules_under,
    room_of,
)

# Arrows that never exist, whatever the table says. ("labkit" also stands for all that is below it.)
FORBIDDEN = {
    "labkit": ("workers",),
    "workers": ("labkit.broker", "labkit.client", "labkit.cluster", "labkit.mirror", "redis"),
    "labkit.broker": ("labkit.mirror", "redis"),
    "labkit.mirror": ("labkit.core.broker.scheduler",),
    "labkit.charts": ("zmq", "redis", "docker"),
    "": ("notebooks", "tests"),
}

NO_NETWORK = {*CORE_ROOMS, "support", "imaging", "calls", "jobs", "batch", "simulation", "charts"}
NETWORK = {"socket", "socketserver", "ssl", "asyncio", "zmq", "redis"}
# What would make the core impure: the outside world, clocks, chance and concurrency.
IMPURE = NETWORK | {"select", "selectors"} | {
    "_thread", "concurrent", "contextvars", "datetime", "fcntl", "glob", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "shutil", "signal", "subprocess",
    "tempfile", "threading", "time", "uuid",
}  # fmt: skip
NO_REAL_NETWORK = {("labkit.support.waker", "socket")}  # a pair of sockets within one process
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__"}


def is_within(module: str, package: str) -> bool:
    return package == "" or module == package or module.startswith(package + ".")


def violations(root: Path) -> list[str]:
    """Return each broken rule in the tree below ``root`` as a line of text."""
    modules = modules_under(root)
    found = []
    for module, path in modules.items():
        room = room_of(module)
        if room is None:
            found.append(f"{module} is in no room: give it one in ROOMS")
            continue
        later = lines_not_run_on_import(path)
        for target, line in imports_of(module, path, set(modules)):
            if (room, room_of(target)) in LAZY_DOORS and line in later:
                continue
            where = f"{path.relative_to(root)}:{line}: {module} -> {target}"
            found.extend(f"{where}: {reason}" for reason in objections(module, room, target))
        if room in CORE_ROOMS:
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


def objections(module: str, room: str, target: str) -> Iterator[str]:
    """Yield why ``module``, which belongs to ``room``, must not import ``target``."""
    top = target.split(".")[0]
    for source, targets in FORBIDDEN.items():
        if is_within(module, source) and any(is_within(target, name) for name in targets):
            yield "this arrow must never exist"
    theirs = room_of(target)
    if room in NO_NETWORK and top in NETWORK and (module, target) not in NO_REAL_NETWORK:
        yield f"{room} has no network"
    if room in CORE_ROOMS:
        if top in IMPURE - NETWORK:
            yield "the core is pure"
        if top not in sys.stdlib_module_names and not is_within(target, "labkit.core"):
            yield "the core imports nothing but itself and the standard library"
    if (
        room == "cluster/supervisor"
        and top not in sys.stdlib_module_names
        and top not in (*SOURCES, "psutil")
    ):
        yield "the supervisor imports the standard library only"
    if theirs is None and top in SOURCES:
        yield "an arrow to a module in no room"
    elif theirs is not None and theirs not in allowed(room):
        yield f"{room} must not import {theirs}"


def test_every_module_imports_what_its_room_may_import() -> None:
    assert not (found := violations(ROOT)), "\n".join(["", *found])


def test_lab_script_needs_nothing_but_the_standard_library() -> None:
    imported = {name.split(".")[0] for name, _ in imports_of("lab", ROOT / "lab.py", set())}
    assert imported <= sys.stdlib_module_names


def test_no_source_lies_outside_the_checked_folders() -> None:
    elsewhere = {"tests", "notebooks", "docker", "work", "out", "labkit-demo"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    unknown = {name for name in folders - elsewhere - set(SOURCES) if any((ROOT / name).rglob("*.py"))}
    assert not unknown, f"folders with code that no room covers: {unknown}"


def test_the_rooms_form_no_circle() -> None:
    assert circles({room: allowed(room) - {room} for room in ROOMS}) == []


def test_no_two_files_import_each_other() -> None:
    modules = modules_under(ROOT)
    arrows = {
        module: {target for target, _ in imports_of(module, path, set(modules)) if target in modules}
        for module, path in modules.items()
    }
    assert circles(arrows) == []


PLANTED = {
    "core uses a clock": ("labkit/core/clock.py", "import time", "the core is pure"),
    "core uses a file": ("labkit/core/file.py", "open('x')", "the core calls open()"),
    "core uses zmq": ("labkit/core/wire.py", "import zmq", "no network"),
    "core uses numpy": ("labkit/core/numbers.py", "import numpy as np", "nothing but itself"),
    "core looks up": ("labkit/core/up.py", "from labkit import jobs", "must not import jobs"),
    "relative import": ("labkit/core/relative.py", "from ..calls.registry import x", "must not import calls"),
    "package's own relative import": (
        "labkit/core/__init__.py",
        "from .. import jobs",
        "must not import jobs",
    ),
    "one side knows the other": (
        "labkit/core/peers/session.py",
        "from labkit.core.broker.scheduler import Scheduler",
        "must not import core/broker",
    ),
    "import inside a function": (
        "labkit/calls/registry.py",
        "def f():\n    import labkit.cluster.cluster",
        "must not import cluster",
    ),
    "import by name": ("labkit/jobs.py", "import_module('labkit.cluster')", "must not import cluster"),
    "computation with sockets": ("labkit/imaging/filters.py", "import socket", "no network"),
    "unlisted neighbour": (
        "labkit/imaging/filters.py",
        "import labkit.security.keys",
        "must not import security",
    ),
    "labkit starts workers by import": (
        "labkit/cluster/local/start.py",
        "import workers.main",
        "never exist",
    ),
    "supervisor grows": ("labkit/cluster/supervisor/child.py", "import zmq", "the standard library only"),
    "worker reads the registry": ("workers/main.py", "from redis import Redis", "never exist"),
    "worker knows the broker": ("workers/main.py", "from labkit.broker import serve", "never exist"),
    "broker knows its mirror": ("labkit/broker/loop.py", "import labkit.mirror.writer", "never exist"),
    "mirror as the truth": ("labkit/mirror/writer.py", "import labkit.core.broker.scheduler", "never exist"),
    "charts with a socket": ("labkit/charts/draw.py", "import zmq", "never exist"),
    "code that needs the tests": ("labkit/cli/main.py", "import tests.tools.waiting", "never exist"),
    "module in no room": ("labkit/helpers.py", "", "in no room"),
    "arrow to no room": ("labkit/cli/main.py", "import labkit.helpers", "module in no room"),
    "lazy door at the top": (
        "labkit/cluster/cluster.py",
        "from labkit.panel import Panel",
        "must not import panel",
    ),
    "door used from inside": (
        "labkit/cli/main.py",
        "from labkit import open_cluster",
        "must not import labkit",
    ),
}


@pytest.mark.parametrize(("file", "code", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, code: str, message: str) -> None:
    plant(tmp_path, "labkit/__init__.py", "")
    plant(tmp_path, file, code)
    assert any(message in line for line in violations(tmp_path)), violations(tmp_path)


def test_what_is_allowed_is_not_reported(tmp_path: Path) -> None:
    plant(tmp_path, "labkit/__init__.py", "from labkit.cluster import open_cluster")
    plant(tmp_path, "labkit/core/protocol/messages.py", "import struct\nfrom ..errors import LabkitError")
    plant(tmp_path, "labkit/core/errors.py", "from typing import Any")
    plant(tmp_path, "labkit/jobs.py", "import time\ndef f():\n    from labkit.imaging import filters")
    plant(tmp_path, "labkit/cluster/local/start.py", "import labkit.client.client\nfrom . import plan")
    plant(tmp_path, "labkit/cluster/cluster.py", "def panel():\n    from labkit.panel import Panel")
    plant(tmp_path, "workers/compute.py", "from labkit.core.protocol.messages import Payload\nimport zmq")
    assert violations(tmp_path) == []


def test_a_circle_is_found_however_long() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert circles(arrows) == [["a", "b", "c"]]


def plant(root: Path, file: str, code: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
