"""The learner's side: one autoscaler per run."""

from __future__ import annotations

from types import ModuleType
from typing import Any

_running: dict[str, Any] = {}


def begin(module: ModuleType) -> None:
    """Make a new Autoscaler."""
    _running["autoscaler"] = module.Autoscaler()


def size(_module: ModuleType, now: float, workers: int, work_s: float) -> Any:
    """Return what the autoscaler wants."""
    return _running["autoscaler"].size(now, workers, work_s)
