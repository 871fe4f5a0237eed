"""constraints.txt pins all that requirements.txt pulls in, on every system and Python."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools import wheels
from tests.tools.waiting import require

ROOT = Path(__file__).parents[3]
RENEW = "`make constraints` renews constraints.txt"
# What an environment has before anything is installed into it, and the project itself.
NOT_PULLED_IN = {"pip", "labkit"}

SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def requirements(name: str, folder: Path = ROOT) -> list[Requirement]:
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]


def pins(folder: Path = ROOT) -> dict[str, Requirement]:
    return {canonicalize_name(pin.name): pin for pin in requirements("constraints.txt", folder)}


def environments() -> Iterator[dict[str, str]]:
    here = {name: str(value) for name, value in default_environment().items()}
    for system, version in itertools.product(SYSTEMS, PYTHONS):
        yield here | system | {"python_version": version, "python_full_version": f"{version}.9"}


def applies(requirement: Requirement, environment: dict[str, str], extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate(environment | {"extra": extra}) for extra in extras | {""})


def installed() -> dict[str, importlib.metadata.Distribution]:
    """The distributions of this environment, by name."""
    folder = str(Path(pytest.__file__).parents[1])
    found = importlib.metadata.distributions(path=[folder])
    return {canonicalize_name(distribution.metadata["Name"]): distribution for distribution in found}


def test_each_constraint_is_one_exact_version() -> None:
    assert [pin for pin in pins().values() if not re.fullmatch(r"==[\w.!+]+", str(pin.specifier))] == []
    assert len(pins()) == len(requirements("constraints.txt"))


def test_requirements_and_constraints_agree() -> None:
    pinned = pins()
    for requirement in requirements("requirements.txt"):
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None and pin.specifier == requirement.specifier, f"{requirement}: {RENEW}"


def test_each_installed_distribution_has_the_version_that_is_pinned() -> None:
    pinned = pins()
    for name, distribution in installed().items():
        if name not in NOT_PULLED_IN:
            assert name in pinned, f"{name} is not pinned: {RENEW}"
            assert pinned[name].specifier.contains(distribution.version, prereleases=True), (
                f"{name} {distribution.version} is installed, {pinned[name]} is pinned; "
                "any `python3 lab.py` command makes the environment of this tree"
            )


def test_what_an_installed_package_needs_on_another_system_is_pinned_too() -> None:
    """Walks from requirements.txt through the metadata of the packages that are installed here."""
    pinned, here = pins(), installed()
    for environment in environments():
        where = f"on {environment['sys_platform']} with Python {environment['python_version']}"
        waiting = [(requirement, set[str]()) for requirement in requirements("requirements.txt")]
        seen = set()
        while waiting:
            requirement, extras = waiting.pop()
            name = canonicalize_name(requirement.name)
            key = (name, frozenset(requirement.extras))
            if not applies(requirement, environment, extras) or key in seen:
                continue
            seen.add(key)
            pin = pinned.get(name)
            assert pin is not None and applies(pin, environment, set()), (
                f"{name} is not pinned {where}: {RENEW}"
            )
            assert requirement.specifier.contains(str(pin.specifier)[2:], prereleases=True), (
                f"{pin}, {requirement}"
            )
            needs = here[name].requires if name in here else None
            waiting += [(Requirement(need), set(requirement.extras)) for need in needs or ()]


def test_make_constraints_pins_what_another_system_needs(tmp_path: Path) -> None:
    require(shutil.which("make"), "make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    wheels.make(tmp_path, "top", "1.0", ["below", 'console; sys_platform == "win32"'])
    wheels.make(tmp_path, "below", "2.0")
    wheels.make(tmp_path, "below", "2.1")
    wheels.make(tmp_path, "console", "3.0")
    (tmp_path / "requirements.txt").write_text("top==1.0\n")
    # A pin that is there stays, unless an upgrade is asked for.
    (tmp_path / "constraints.txt").write_text("below==2.0\n")
    make(tmp_path)
    assert {str(pin) for pin in pins(tmp_path).values()} == {
        "top==1.0",
        "below==2.0",
        'console==3.0; sys_platform == "win32"',
    }
    make(tmp_path, "UPGRADE=--upgrade")
    assert str(pins(tmp_path)["below"]) == "below==2.1"


def make(folder: Path, *arguments: str) -> None:
    offline = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(folder), "UV_NO_CONFIG": "1"}
    command = ["make", "constraints", f"BIN={Path(sys.executable).parent}", *arguments]
    environ = os.environ | offline | {"UV_CACHE_DIR": str(folder / "cache")}
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
