"""The tables of transitions: documents draw the same machines, and a session refuses any other step."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from labkit.cluster.supervisor import child
from labkit.core.broker import task_life, worker_table
from labkit.core.errors import InvariantBroken
from labkit.core.peers import client_session, worker_session
from labkit.core.peers.session import Phase
from labkit.core.transitions import START, check_transition
from tests.tools.sessions import AClient
from tests.tools.state_diagrams import mermaid, text

MACHINES = (task_life, worker_table, worker_session, client_session, child)
ARCHITECTURE = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MACHINES, ids=lambda module: module.__name__)
def test_module_head_draws_its_table_of_transitions(module: ModuleType) -> None:
    head = "\n".join(line.strip() for line in (module.__doc__ or "").splitlines())
    assert text(module.TRANSITIONS) in head, f"should be:\n{text(module.TRANSITIONS)}"


@pytest.mark.parametrize("module", MACHINES, ids=lambda module: module.__name__)
def test_architecture_draws_every_table_of_transitions(module: ModuleType) -> None:
    assert mermaid(module.TRANSITIONS) in ARCHITECTURE, f"should hold:\n{mermaid(module.TRANSITIONS)}"


@pytest.mark.parametrize("module", MACHINES, ids=lambda module: module.__name__)
def test_every_state_can_be_reached_from_the_start(module: ModuleType) -> None:
    reached, waiting = {START}, [START]
    while waiting:
        before = waiting.pop()
        after = {after for one, after in module.TRANSITIONS if one == before} - reached
        reached |= after
        waiting += after
    assert reached == {state for pair in module.TRANSITIONS for state in pair}


def test_step_outside_the_table_is_a_broken_invariant() -> None:
    check_transition(worker_session.TRANSITIONS, "ready", "draining")
    with pytest.raises(InvariantBroken, match="from draining to ready"):
        check_transition(worker_session.TRANSITIONS, "draining", "ready")


def test_session_that_is_over_cannot_greet_again() -> None:
    client = AClient()
    client.session._enter(Phase.OVER)
    with pytest.raises(InvariantBroken, match="from over to greeting"):
        client.session._enter(Phase.GREETING)
