"""A run folder, and supervisors in it that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.run_folder import RunFolder
from tests.tools.open_contexts import pytest_runtest_teardown  # noqa: F401 - a hook
from tests.tools.supervised import POLITE, Cluster, Open, make_plan


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.of(tmp_path, "test")


@pytest.fixture
def opened(folder: RunFolder) -> Iterator[Open]:
    """Opens clusters, and sees to it that each ends and leaves nothing."""
    clusters: list[Cluster] = []

    def open_one(worker: str | list[str] = POLITE, **options: Any) -> Cluster:
        clusters.append(Cluster(folder, make_plan(folder, worker, **options)))
        return clusters[-1]

    yield open_one
    for cluster in clusters:
        cluster.lifeline.let_go()
