"""Which versions of Docker Compose read the lab's files as they are meant."""

from __future__ import annotations

import pytest
import yaml

from labkit.cluster.compose.versions import NO_ORDER, REFUSES, TOO_OLD, trouble
from labkit.support.paths import ROOT


@pytest.mark.parametrize(
    ("version", "wrong"),
    [
        ("1.29.2", TOO_OLD),
        ("2.2.3", TOO_OLD),
        ("v2.19.1", TOO_OLD),
        ("2.20.2+ds1-0ubuntu1~22.04.1", ""),
        ("2.24.0", REFUSES),
        ("2.24.6", ""),
        ("2.26.1-4", ""),
        ("v2.30.2-desktop.1", REFUSES),
        ("2.30.3", ""),
        ("2.32.4", NO_ORDER),
        ("2.33", ""),
        ("v5.6.1", ""),
        ("dev", ""),
    ],
)
def test_versions_with_bugs_are_known(version: str, wrong: str) -> None:
    assert trouble(version) == wrong


def test_no_service_that_is_extended_waits_for_another() -> None:
    shared = yaml.safe_load((ROOT / "docker" / "services.yml").read_text(encoding="utf-8"))
    assert shared["services"] and not [name for name, of in shared["services"].items() if "depends_on" in of]
