"""The cluster in a box: the real scheduler and sessions on a simulated network, a virtual clock and a seed.

``simulate(seed, workers, tasks, faults, policy) -> Run`` lives through minutes of cluster life in
milliseconds, checks every promise after every event, and leaves a history that reads like that of a real run.

Reading order: ``loop`` (time), ``network`` (links that lose only at a break), ``process`` (a session with a
socket and a clock of its own), ``workers``, ``clients``, ``broker``, ``world`` (all together, and the two
phases), ``faults`` (what is done to them), ``invariants``, ``shadow``, ``truth`` and ``witness`` (what must
be true), ``run``, ``timeline`` (for people), ``cost``.

Source: the deterministic simulation of FoundationDB, the checkers of Jepsen and Maelstrom.
"""

from __future__ import annotations

from labkit.simulation.faults import FAULTS, mix
from labkit.simulation.model import Violation
from labkit.simulation.run import DEFAULT_FAULTS, RULES, Run, simulate
from labkit.simulation.world import Parts

__all__ = ["DEFAULT_FAULTS", "FAULTS", "RULES", "Parts", "Run", "Violation", "mix", "simulate"]
