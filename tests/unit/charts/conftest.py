"""English for each test of the charts, and the history that most of them draw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.core.history import History
from labkit.support import i18n
from tests.tools.made_histories import demo


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    i18n.set_language("en")
    yield
    i18n.set_language(None)


@pytest.fixture
def history() -> History:
    return History(demo())
