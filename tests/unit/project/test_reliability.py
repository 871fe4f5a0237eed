"""docs/reliability.md names only what exists, and leaves no case of the fault suite out."""

from __future__ import annotations

import ast
import re

from labkit.faults.suite import CASES
from labkit.simulation import FAULTS
from labkit.simulation.invariants import STRUCTURE
from tests.tools.mutants import DEMANDED, FURTHER
from tests.unit.project.test_documents import ROOT, rows, section

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def known_tests() -> dict[str, set[str]]:
    """Return the tests in each file, by its name; two files of one name count as one."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        found.setdefault(path.name, set()).update(name for name in names if name.startswith("test_"))
    return found


def named(word: str) -> set[str]:
    """Return what stands behind "case: " or "mutant: "."""
    return {name.strip() for name in re.findall(rf"{word}: ([\w -]+)", PAGE)}


def test_every_test_that_the_page_names_exists() -> None:
    pairs = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", PAGE)
    assert len(pairs) > 50
    known = known_tests()
    for file, test in pairs:
        assert file in known, file
        assert not test or test in known[file], f"{file}::{test}"


def test_every_test_of_a_running_compose_project_is_named() -> None:
    known = known_tests()
    for path in sorted((ROOT / "tests" / "docker").glob("test_*.py")):
        if path.name != "test_images.py":  # most of it looks at files
            missing = {test for test in known[path.name] if f"`{path.name}::{test}`" not in PAGE}
            assert not missing, f"docs/reliability.md has no row for {path.name}: {sorted(missing)}"


def test_every_case_of_the_suite_is_named_and_no_other() -> None:
    assert named("case") == set(CASES)


def test_every_mutant_that_the_page_names_exists() -> None:
    assert named("mutant") <= DEMANDED.keys() | FURTHER.keys()
    assert named("mutant") >= DEMANDED.keys()


def test_every_fault_of_the_simulation_has_its_row() -> None:
    cells = [row[2] for row in rows(section(PAGE, "## Faults")) if len(row) == 4]
    told = {fault for cell in cells for fault in re.findall(r"`([a-z_]+)`", cell)}
    assert told == FAULTS.keys() - {"cancel"}, "cancelling is no fault, but what a client may ask for"


def test_every_invariant_is_named_and_every_report_that_is_named_exists() -> None:
    table = section(PAGE, "## Invariants")
    told = set(re.findall(r"`([a-z_]+)`", table))
    assert {check.__name__ for check in STRUCTURE} <= told
    folder = ROOT / "labkit" / "simulation"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    reports = told - {check.__name__ for check in STRUCTURE}
    assert not [name for name in reports if f'"{name}"' not in source]
