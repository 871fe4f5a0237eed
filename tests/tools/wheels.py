"""Wheels for tests that install packages without a network."""

from __future__ import annotations

import importlib.metadata
import zipfile
from collections.abc import Sequence
from pathlib import Path

FORMAT = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
    """Return a new wheel in ``folder`` that holds no code, of a package that requires others."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", FORMAT)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


def of_installed(folder: Path, name: str) -> Path:
    """Return a wheel in ``folder`` made from a pure Python package that is installed here."""
    distribution = importlib.metadata.distribution(name)
    path = folder / f"{name}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in distribution.files or ():
            if file.suffix != ".pyc" and ".." not in file.parts:
                wheel.write(str(file.locate()), file.as_posix())
    return path
