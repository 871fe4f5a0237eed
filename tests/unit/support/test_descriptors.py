"""The limit of open files is raised, never lowered, and never beyond what the system allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.support import descriptors

resource = pytest.importorskip("resource", reason="Windows has no such limit")


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before: tuple[int, int] = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_the_system_allows(limits: tuple[int, int]) -> None:
    _soft, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    descriptors.allow(300)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
    descriptors.allow(100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard), "never lowered"
    if hard != resource.RLIM_INFINITY:
        descriptors.allow(hard + 1_000)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
