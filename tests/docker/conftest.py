"""A compose project and a handle on it, for each module of tests that uses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.cluster import Cluster
from tests.tools.docker_rig import ComposeProject, built, project_up, require_docker


@pytest.fixture(scope="module")
def project() -> Iterator[ComposeProject]:
    require_docker()
    built()
    with project_up() as up:
        yield up


@pytest.fixture(scope="module")
def cluster(project: ComposeProject) -> Iterator[Cluster]:
    with project.connect() as connected:
        connected.wait_until_ready(60.0)
        yield connected
