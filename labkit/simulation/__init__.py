"""The cluster in a box: the real scheduler and sessions on a simulated network, a virtual clock and a seed.

``simulate(seed, workers, tasks, faults, policy) -> Run`` runs minutes of cluster life in
milliseconds, checks every promise after every event, and leaves a history that reads like that of a real run.

Reading order:

* time and network: ``loop``, ``connection`` (it loses only at a break), ``network`` (sockets)
* processes: ``process`` (a session with a socket and a clock of its own), ``work`` (the tasks),
  ``worker_process``, ``worker_slot``, ``clients``, ``broker``
* what is done to them: ``world`` (all together, and the two phases), ``strikes``, ``garbage``, ``faults``,
  ``autoscaling``
* what must be true: ``violation``, ``invariants``, ``model``, ``ground_truth``, ``observation``,
  ``task_checker``, ``worker_checker``, ``online_checker``, ``peer_checker``
* what is chosen instead of drawn: ``scenario``, ``recorded_faults``, ``replay`` (a recorded run again)
* ``parts`` (what a test may replace), ``run``, ``timeline`` (for people), ``cost``

Source: the deterministic simulation of FoundationDB, the checkers of Jepsen and Maelstrom.
"""

from __future__ import annotations

from labkit.simulation.faults import FAULTS, mix
from labkit.simulation.parts import Parts
from labkit.simulation.run import DEFAULT_FAULTS, RULES, Run, simulate
from labkit.simulation.violation import Violation

__all__ = ["DEFAULT_FAULTS", "FAULTS", "RULES", "Parts", "Run", "Violation", "mix", "simulate"]
