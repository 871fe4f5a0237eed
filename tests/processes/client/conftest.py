"""One broker with one worker for each module of tests, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.client.client import Client
from tests.tools.open_contexts import pytest_runtest_teardown  # noqa: F401 - a hook
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One worker, so that a second task waits. No test of this module kills it."""
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=1, client_gone_s=0.5) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Iterator[Client]:
    client = rig.client()
    yield client
    client.close()
    wait_until(lambda: rig.status()["queued"] == rig.status()["assigned"] == 0, what="an empty broker")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a file that ``work:wait_for`` waits for; it exists after the test at the latest."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()
