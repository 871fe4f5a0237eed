"""The one table of states: complete, and in step with the commands that the cluster accepts."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from labkit.cluster import processes
from labkit.cluster.cluster import Cluster
from labkit.cluster.status import recovery_command
from labkit.cluster.status_text import COMMANDS, STATES, TONES
from labkit.core.errors import ClusterError
from labkit.support import i18n
from tests.tools.source_tree import ROOT, modules_under, room_of

OF_PROCESSES = {
    processes.RUNNING,
    processes.PAUSED,
    processes.STOPPING,
    processes.RESTARTING,
    processes.STOPPED,
    processes.KILLED,
}
OF_WORKERS = {"ready", "busy", "suspect", "draining", "lost", "left", "absent", "no_word"}
FACES = {"cluster", "panel", "demo", "faults", "cli", "classroom", "benchmarks"}
STARTS_BY_ITSELF = {(processes.STOPPING, "start"), (processes.RESTARTING, "start")}
"""Accepted and not offered: the present process must end first, or the next one starts anyway."""


def accepts(state: str, command: str) -> bool:
    try:
        processes.check_fits(command, "worker-1", state)
    except ClusterError:
        return False
    return True


def test_table_has_every_state_of_a_process_and_of_a_worker() -> None:
    assert set(STATES) == OF_PROCESSES | OF_WORKERS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", sorted(OF_PROCESSES))
def test_command_is_offered_where_the_cluster_accepts_it(state: str, command: str) -> None:
    offered = command in STATES[state].commands
    assert offered == (accepts(state, command) and (state, command) not in STARTS_BY_ITSELF)


def test_commands_are_methods_of_a_cluster() -> None:
    assert all(callable(getattr(Cluster, command)) for command in COMMANDS)
    assert {command for state in STATES.values() for command in state.commands} == set(COMMANDS)


def test_what_the_broker_thinks_of_a_worker_offers_no_command() -> None:
    assert not any(STATES[state].commands or STATES[state].recovery for state in OF_WORKERS)


@pytest.mark.parametrize("state", sorted(OF_PROCESSES))
def test_recovery_command_is_accepted_and_none_for_states_that_pass(state: str) -> None:
    row: Any = {"name": "broker", "state": state}
    command = recovery_command([row], "broker")
    assert command == STATES[state].recovery
    lasting = state in (processes.PAUSED, processes.STOPPED, processes.KILLED)
    assert bool(command) == lasting and (not lasting or command in STATES[state].commands)


def test_unknown_process_has_no_recovery_command() -> None:
    assert recovery_command([], "broker") == ""


def test_no_other_module_has_a_table_of_states_of_its_own() -> None:
    found = []
    for module, path in modules_under(ROOT).items():
        if room_of(module) not in FACES or module == "labkit.cluster.status_text":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                if len(keys & set(STATES)) > 2:
                    found.append(f"{module}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_every_state_has_sign_tone_style_and_a_word_of_its_own(lang: str) -> None:
    i18n.set_language(lang)
    assert len({state.word for state in STATES.values()}) == len(STATES)
    assert all(state.sign and state.terminal and state.tone in TONES for state in STATES.values())
    assert all(command.word and "worker-1" in command.meaning("worker-1") for command in COMMANDS.values())
