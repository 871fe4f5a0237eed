"""The plan of the house as data: the rooms of the source tree, and what each may import.

`ROOMS` is the one list. ``tests/unit/project/test_architecture.py`` holds the code to it, and
``tests/unit/project/test_documents.py`` holds the first page of ARCHITECTURE.md to it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("labkit", "workers", "benchmarks")

CORE_ROOMS = ("core", "core/protocol", "core/history", "core/broker", "core/peers")

PROCESSES = "client cluster cluster/open cluster/processes cluster/run_folder executors"

ROOMS = {
    # The core: imports nothing but itself and the standard library.
    "core": "",
    "core/protocol": "core",
    "core/history": "core",
    "core/broker": "core core/protocol core/history",
    "core/peers": "core core/protocol",
    # Computation and formats, no network. From here on every room may also import core and support.
    "support": "",
    "imaging": "",
    "calls": "",
    "security": "",
    "jobs": "imaging calls",
    "batch": "imaging jobs",
    "simulation": "",
    "charts": "",
    # A socket round each state machine.
    "transport": "security",
    "broker": "calls security transport",
    "client": "calls security transport",
    "workers": "calls imaging security transport",
    "mirror": "",
    # The processes of a cluster: the interface, and one backend each.
    "cluster/run_folder": "",
    "cluster/processes": "",
    "cluster/supervisor": "cluster/run_folder cluster/processes",
    "cluster": "cluster/run_folder cluster/processes client mirror security",
    "cluster/local": "cluster cluster/run_folder cluster/processes cluster/supervisor calls client mirror "
    "security transport",
    "cluster/compose": "cluster cluster/run_folder cluster/processes cluster/supervisor client security",
    "cluster/open": "cluster cluster/run_folder cluster/local cluster/compose imaging",
    "executors": "calls client cluster jobs",
    # What people see.
    "panel": f"{PROCESSES} jobs",
    "demo": f"{PROCESSES} charts imaging jobs",
    "faults": f"{PROCESSES} cluster/local imaging jobs mirror security",
    "practice": f"{PROCESSES} cluster/compose calls imaging jobs mirror security simulation transport",
    "load": f"{PROCESSES} charts imaging jobs",
    "gateway": f"{PROCESSES} charts imaging jobs mirror panel security",
    "cli": f"{PROCESSES} cluster/compose cluster/local broker calls charts demo faults gateway "
    "imaging jobs load mirror practice security simulation benchmarks",
    "classroom": f"{PROCESSES} cluster/compose calls charts cli demo imaging jobs mirror practice transport",
    "benchmarks": f"{PROCESSES} cluster/local batch broker calls gateway imaging jobs security",
    # The door: names for programs and notebooks, each imported when it is first used.
    "labkit": "batch cluster cluster/open executors",
    "__main__": "cli",
}
"""Room -> the rooms that it may import. A room is a folder of labkit or, where it stands alone, a file."""

LAZY_DOORS = {("cluster", "cluster/open"), ("cluster", "panel")}
"""Arrows upwards, allowed inside a function only: a name of a package that leads to a room above it."""


def allowed(room: str) -> set[str]:
    """Return the rooms that ``room`` may import, itself included."""
    base = set() if room in CORE_ROOMS else {*CORE_ROOMS, "support"}
    return {room, *ROOMS[room].split()} | base


def room_of(module: str) -> str | None:
    """Return the room that ``module`` belongs to, or None if it is in no room."""
    if module == "labkit":
        return "labkit"
    parts = module.removeprefix("labkit.").split(".")
    if not module.startswith("labkit.") and parts[0] not in ("workers", "benchmarks"):
        return None
    return next((room for end in (2, 1) if (room := "/".join(parts[:end])) in ROOMS), None)


def modules_under(root: Path) -> dict[str, Path]:
    """Return each source module below ``root`` by its dotted name."""
    found = {}
    for package in SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield (imported module, line); ``from labkit.calls import registry`` imports labkit.calls.registry."""
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
                is_module = inner in known or (origin == "labkit" and alias.name in ROOMS)
                yield (inner if is_module else origin), node.lineno
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func) and node.args:
            name = node.args[0]  # importlib.import_module("labkit.jobs")
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, node.lineno


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(arrows[node]):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return found
