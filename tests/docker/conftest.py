"""A compose project and a handle on it, for each module of tests that uses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.cluster.compose.handle import ComposeCluster
from tests.tools.docker_rig import Stack, built, require_engine, stack_up


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    require_engine()
    built()
    with stack_up() as up:
        yield up


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Iterator[ComposeCluster]:
    with stack.connect() as connected:
        connected.wait_until_ready(60.0)
        yield connected
