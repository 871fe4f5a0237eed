"""No decision depends on the wall clock: setting it an hour on or back changes only what is shown.

Each source file is parsed. A file that reads the time of day is in the list below, with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tools.source_tree import ROOT, modules_under

WALL = {"time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.strftime", "time.ctime"}
WALL_MODULES = {"datetime"}

SHOWN_ONLY = {
    "labkit.mirror.writer": "last_heartbeat in Redis, for people",
    "labkit.broker.service": "when this broker started, in the history",
    "labkit.gateway.live": "which of the panel's and dashboard's seconds an event was in",
    "labkit.gateway.broadcast": "when a fault was done that no broker could note",
    "labkit.cli.status": "when the live view was drawn",
    "labkit.cli.autoscale": "when a decision was made",
    "labkit.cluster.supervisor.supervisor": "when a fault was done that could not be noted",
    "labkit.cluster.compose.backend": "when a fault was done that could not be noted",
    "labkit.cluster.local.plan": "when the cluster was started",
    "labkit.cluster.supervisor.child": "a headline in a log",
    "labkit.cli.attention": "how long a fault that could not be noted is shown",
    "labkit.panel.feed": "where the broker's clock stands now, for the panel's axis",
    "labkit.classroom.registry": "how old a heartbeat in Redis is",
    "labkit.practice.progress": "when something was checked, in the record",
    "labkit.practice.workspace": "in the name of a copy",
    "labkit.gateway.gateway": "since when the HTTP side is up",
    "labkit.gateway.batches": "when a batch came and ended, in its record",
    "labkit.gateway.registry": "how old a heartbeat in Redis is",
    "labkit.gateway.routes.cluster": "how old a heartbeat in Redis is",
    "labkit.panel.panel": "how old a heartbeat in Redis is",
}
DECIDED = {
    "labkit.gateway.batch_store": "which records are too old to be kept: Redis outlives every process",
    "labkit.gateway.spool": "how old a file is, which only the wall clock knows",
    "labkit.cluster.local.start": "how old a file is, which only the wall clock knows",
    "labkit.cluster.compose.containers": "a container's age: Docker gives its start by the wall clock",
}


def asks_the_wall(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Attribute, ast.Name)) and ast.unparse(node) in WALL:
            return True
        if isinstance(node, ast.ImportFrom):
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            if taken & WALL or node.module in WALL_MODULES:
                return True
        if isinstance(node, ast.Import) and WALL_MODULES & {alias.name for alias in node.names}:
            return True
    return False


def test_only_those_listed_ask_for_the_time_of_day() -> None:
    asking = {
        module
        for module, path in modules_under(ROOT).items()
        if not module.startswith("benchmarks") and asks_the_wall(path)
    }
    assert asking == SHOWN_ONLY.keys() | DECIDED.keys()


def test_the_core_sessions_and_sockets_never_do() -> None:
    below = (
        "labkit.core",
        "labkit.transport.connection",
        "labkit.client.client",
        "labkit.client.io_loop",
        "workers",
    )
    assert not [module for module in SHOWN_ONLY | DECIDED if module.startswith(below)]


def test_a_planted_look_at_the_wall_is_seen(tmp_path: Path) -> None:
    for code in (
        "import time\nnow = time.time()", "from time import time", "import datetime",
        "from datetime import datetime", "import time\nf = time.time",
    ):  # fmt: skip
        planted = tmp_path / "planted.py"
        planted.write_text(code)
        assert asks_the_wall(planted), code
