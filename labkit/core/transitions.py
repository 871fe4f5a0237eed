"""State machines as data: which state may follow which, and on what occasion.

Each module that owns a machine has a table ``TRANSITIONS``. Sessions check it at each change of phase; tests
check the others against simulated runs. The diagrams in module heads and in ARCHITECTURE.md are drawn from
these tables (``tests/tools/state_diagrams.py``), and a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.core.errors import N_, InvariantBroken

START = "(start)"

Transitions = Mapping[tuple[str, str], str]
"""(state before, state after) -> the occasion. A state without a way out is an end."""


def check_transition(transitions: Transitions, before: str, after: str) -> None:
    """Raise InvariantBroken if a machine may not go from ``before`` to ``after``."""
    if (before, after) not in transitions:
        raise InvariantBroken(
            N_("no transition leads from {before} to {after}; this is a bug in labkit"),
            before=before,
            after=after,
        )
