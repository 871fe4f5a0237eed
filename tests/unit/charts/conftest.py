"""The history that most tests of the charts draw."""

from __future__ import annotations

import pytest

from labkit.core.history import History
from tests.tools.made_histories import demo


@pytest.fixture
def history() -> History:
    return History(demo())
