"""What the parts of the online checker look at: the model, the ground truth, the scheduler's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from labkit.core.broker.records import Route
from labkit.core.broker.tables import Tables
from labkit.core.protocol.rules import Rules
from labkit.simulation.connection import Connection
from labkit.simulation.ground_truth import GroundTruth
from labkit.simulation.loop import Loop
from labkit.simulation.model import Model
from labkit.simulation.violation import violated
from labkit.simulation.work import Work


class Observation:
    """``connections`` are the broker's, by route. ``model`` begins anew with each broker."""

    def __init__(self, rules: Rules, works: Mapping[bytes, Work], truth: GroundTruth, loop: Loop) -> None:
        self.rules = rules
        self.works = works
        self.truth = truth
        self.loop = loop
        self.connections: Mapping[Route, Connection] = {}
        self.model: Model
        self.tables: Tables

    def violated(self, invariant: str, why: str) -> NoReturn:
        """Report a violation; this ends the run."""
        violated(invariant, self.loop.now, why)

    def demand(self, condition: object, invariant: str, why: str, *about: object) -> None:
        """Report a violation unless the condition holds."""
        if not condition:
            self.violated(invariant, why.format(*about))
