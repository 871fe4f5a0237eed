"""What a case is: a function that harms a cluster and judges it, with the cluster that it wants.

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
    """One fault, what is promised of it, and how to find out."""

    name: str
    """What ``--only`` takes."""
    fault: str
    """English, for the catalogue."""
    promise: str
    try_it: Callable[[TestBed], None]
    """Does harm to the test bed's cluster and claims what was promised. May raise NotReached or CannotTry."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """What the test bed is made with: workers, redis, capabilities, rules."""


def case(
    name: str, *, fault: str, promise: str, **cluster: Any
) -> Callable[[Callable[[TestBed], None]], Case]:
    """Return a decorator that makes a case of a function."""
    return lambda function: Case(name, fault, promise, function, cluster)


def cases_of(module: ModuleType) -> list[Case]:
    """Return a module's cases in the order in which they stand there."""
    return [value for value in vars(module).values() if isinstance(value, Case)]
