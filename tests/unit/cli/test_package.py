"""``import labkit`` loads only the standard library, and its four names are the right objects."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import labkit
from tests.tools.command_line import ROOT

NAMES = ["connect", "open_cluster", "open_executor", "process_batch"]


def test_importing_labkit_loads_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import labkit; new = set(sys.modules) - before; "
        "print([name for name in new if name.split('.')[0] not in sys.stdlib_module_names])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "['labkit']\n"


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_its_modules_object(name: str) -> None:
    from labkit import batch, cluster, executors

    homes = {"open_executor": executors, "process_batch": batch}
    assert getattr(labkit, name) is getattr(homes.get(name, cluster), name)
    assert name in dir(labkit) and name in labkit.__all__


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = labkit.nothing
    assert not hasattr(labkit, "nothing")


def test_reading_order_names_existing_modules() -> None:
    missing = [
        name
        for name in re.findall(r"``(labkit\.[\w.]+|workers)``", labkit.__doc__ or "")
        if not any((ROOT / f"{name.replace('.', '/')}{end}").exists() for end in (".py", ""))
    ]
    assert not missing
