"""Each exercise is sound: the stub fails, the solution passes, wrong ones fail for the right reason."""

from __future__ import annotations

import shutil

import pytest

from labkit.mirror.server import find_binary
from labkit.practice.exercise import Exercise, catalogue
from labkit.practice.verify import verify
from tests.tools.waiting import require


@pytest.mark.parametrize("exercise", catalogue(), ids=lambda exercise: exercise.id)
def test_exercise_is_sound(exercise: Exercise) -> None:
    require("docker" not in exercise.needs or shutil.which("docker") is not None, "docker")
    require("redis" not in exercise.needs or find_binary(), "a Redis server")
    assert [str(fault) for fault in verify(exercise)] == []
