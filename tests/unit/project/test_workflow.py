"""The hosted workflow is valid and runs the README's test command; a test that is skipped gives a reason."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
TEST_COMMAND = "python3 lab.py test"

# Windows has none of these: a module that names one while it is imported cannot be imported there.
POSIX_NAMES = {
    "signal": {
        "SIGKILL",
        "SIGSTOP",
        "SIGCONT",
        "SIGHUP",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "SIGALRM",
        "SIGPROF",
    },
    "os": {"fork", "killpg", "getuid", "mkfifo", "setsid", "getpgid", "uname", "openpty"},
    "socket": {"AF_UNIX"},
}
POSIX_MODULES = {"fcntl", "resource", "pty", "termios", "tty", "grp", "pwd"}


@pytest.fixture(scope="module")
def suite() -> dict[str, Any]:
    workflow = YAML(typ="safe").load(WORKFLOW)
    job: dict[str, Any] = workflow["jobs"]["suite"]
    return job


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflow_is_valid(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(WORKFLOW)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_workflow_and_ci_run_the_readmes_test_command(suite: dict[str, Any]) -> None:
    assert [step["run"] for step in suite["steps"] if "run" in step] == [TEST_COMMAND]
    assert re.search(rf"^{TEST_COMMAND}\b", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    last = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert last == f"exec {TEST_COMMAND}"


def test_the_workflow_tries_each_system_with_the_oldest_and_the_newest_python(suite: dict[str, Any]) -> None:
    matrix = suite["strategy"]["matrix"]
    assert [system.split("-")[0] for system in matrix["system"]] == ["ubuntu", "macos", "windows"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.findall(r'"python3\.(\d+)"', (ROOT / "lab.py").read_text(encoding="utf-8"))[0]
    assert matrix["python"] == [project["requires-python"].removeprefix(">="), f"3.{newest}"]


# --- what a system lacks ------------------------------------------------------------------------------------


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_each_skip_gives_a_reason() -> None:
    silent = []
    for name, tree in trees("tests"):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in calls:
            called = ast.unparse(call.func)
            marks = called in ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")
            given = {keyword.arg for keyword in call.keywords}
            if (called == "pytest.skip" and not call.args) or (marks and "reason" not in given):
                silent.append(f"{name}:{call.lineno}")
    assert silent == []


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: no bodies of functions, no branch of an ``if``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.If, ast.Lambda)):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decided = [*child.decorator_list, *child.args.defaults]
            yield from itertools.chain.from_iterable(map(ast.walk, decided))
        else:
            yield child
            yield from at_import(child)


def test_every_module_can_be_imported_on_windows() -> None:
    found = []
    for name, tree in trees("labkit", "workers", "benchmarks", "tests"):
        for node in at_import(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in POSIX_NAMES.get(node.value.id, ()):
                    found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
            elif isinstance(node, ast.Import) and POSIX_MODULES & {alias.name for alias in node.names}:
                found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert found == []
