"""A case: a function that injects a fault into a cluster and judges the result.

::

    @case("kill-storm", fault=N_("kill -9 of one worker after the other"), promise=N_("..."), workers=3)
    def kill_storm(bed: TestBed) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from labkit.faults.test_bed import TestBed


@dataclass(frozen=True)
class Case:
    """One fault, its promise, and the function that tests it."""

    name: str
    """What ``--only`` takes."""
    fault: str
    """English, for the catalogue."""
    promise: str
    try_it: Callable[[TestBed], None]
    """Injects the fault and claims what was promised. May raise NotReached or CannotTry."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """Options of the test bed: workers, redis, capabilities, rules."""


def case(
    name: str, *, fault: str, promise: str, **cluster: Any
) -> Callable[[Callable[[TestBed], None]], Case]:
    """Return a decorator that makes a case of a function."""
    return lambda function: Case(name, fault, promise, function, cluster)


def cases_of(module: ModuleType) -> list[Case]:
    """Return a module's cases in their order."""
    return [value for value in vars(module).values() if isinstance(value, Case)]
