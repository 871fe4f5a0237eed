"""The project can be built and installed: what pyproject.toml says is true of the source tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.cli import parser
from labkit.cli.doctor_checks import NEEDED
from tests.tools import wheels
from tests.tools.waiting import require

ROOT = Path(__file__).parents[3]
PACKAGES = ("labkit", "workers", "benchmarks")
# These extras are named before requirements.txt has what they need. Empty this when their code is here.
AHEAD = {"dask"}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if line[:1] not in ("", "#")}


def pinned() -> set[str]:
    return names((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())


# --- one list of packages ---


def test_pyproject_and_requirements_name_the_same_packages(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], pyproject["build-system"]["requires"]]
    lists += [extras[extra] for extra in extras if extra not in AHEAD]
    assert set().union(*map(names, lists)) == pinned()
    assert sum(map(len, lists)) == len(pinned()), "a package is named twice"


def test_an_extra_that_requirements_has_in_full_is_no_longer_ahead(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"]
    assert {"lab", "api", "dask", "test"} == set(extras)
    assert not [extra for extra in AHEAD if names(extras[extra]) <= pinned()]


def test_the_dependencies_are_what_the_doctor_cannot_do_without(pyproject: dict[str, Any]) -> None:
    assert names(pyproject["project"]["dependencies"]) == set(NEEDED)


def test_pyproject_pins_nothing(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    lines = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    assert not [line for line in lines if re.search("[<>=~]=", line.partition(";")[0])]


# --- what is built and installed ---


def test_a_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob(f"labkit-{labkit.__version__}-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = (path for package in PACKAGES for path in (tree / package).rglob("*") if path.is_file())
    assert held == {path.relative_to(tree).as_posix() for path in here}
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_lab_py_installs_the_tree_offline_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    require(shutil.which("git"), "git")
    tree, elsewhere = tmp_path / "mi práctica", tmp_path / "elsewhere"
    elsewhere.mkdir()
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "lab.py", ".gitignore", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    for package in PACKAGES:
        (tree / package).mkdir()
        (tree / package / "__init__.py").write_text("__version__ = '7'\n")
    (tree / "labkit" / "__main__.py").write_text(
        "import importlib.metadata, labkit, workers, benchmarks\n"
        "print(importlib.metadata.version('labkit'), labkit.__file__)\n"
    )
    wheels.of_installed(tmp_path, "setuptools")
    (tree / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path.as_uri()}\nsetuptools\n")
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    before = shown_by_git(tree)
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))
    }
    environ["PIP_CONFIG_FILE"] = os.devnull
    ran = subprocess.run(
        [sys.executable, str(tree / "lab.py")],
        cwd=elsewhere,
        env=environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split(maxsplit=1) == ["7", f"{tree / 'labkit' / '__init__.py'}\n"], ran.stderr
    assert shown_by_git(tree) == before | {"!! .venv/"}


def shown_by_git(tree: Path) -> set[str]:
    command = ["git", "status", "--porcelain", "--ignored"]
    return set(
        subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout.splitlines()
    )


# --- what a project has beside its code ---


def test_the_command_line_tells_the_version_of_the_package() -> None:
    assert labkit.__version__ == parser.VERSION


def test_the_licence_is_named_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith(f"{pyproject['project']['license']} License\n")
    assert pyproject["project"]["authors"] == [{"name": re.search(r"\(c\) \d+ (.+)", text)[1]}]  # type: ignore[index]
