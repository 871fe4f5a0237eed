"""``simulate`` shows a seeded run, the same each time; its exit code says whether every promise was kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit import simulation
from labkit.cli import output
from labkit.cli import simulate as command
from labkit.simulation import FAULTS, Violation
from labkit.support import i18n
from tests.tools.command_line import Commands

SMALL = ("simulate", "--seed", "7", "--workers", "3", "--tasks", "20")


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_a_run_is_shown_with_the_command_that_shows_it_again(lab: Commands) -> None:
    said = lab.done(*SMALL)
    assert "worker-3" in said.out
    again = said.out.strip().splitlines()[-1].partition(f"{output.call()} ")[2]
    assert again.split()[:7] == list(SMALL)
    assert lab.done(*again.split(), "--json").json()["events"] == lab.done(*SMALL, "--json").json()["events"]


def test_the_command_repeats_how_closely_the_run_was_watched(lab: Commands) -> None:
    said = lab.done(*SMALL, "--thorough", "--wire")
    again = said.out.strip().splitlines()[-1].partition(f"{output.call()} ")[2]
    assert again.endswith(" --thorough --wire")
    assert lab.done(*again.split(), "--json").json()["events"] == lab.done(*SMALL, "--json").json()["events"]
    assert "--wire" not in lab.done(*SMALL).out


def test_json_tells_the_whole_run(lab: Commands) -> None:
    told = lab.done(*SMALL, "--faults", "kill", "--policy", "round_robin", "--json").json()
    assert (told["seed"], told["workers"], told["tasks"]) == (7, 3, 20)
    assert (told["faults"], told["policy"], told["ok"]) == (["kill"], "round_robin", True)
    assert sum(event["event"] == "submitted" for event in told["events"]) >= 20


def test_no_faults_are_possible(lab: Commands) -> None:
    assert lab.done(*SMALL, "--faults", "none", "--json").json()["faults"] == []


def test_the_help_names_every_fault(lab: Commands) -> None:
    out = lab.done("simulate", "--help").out
    assert all(name in out for name in FAULTS)


def test_a_broken_promise_is_a_failure_with_a_report(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(
        simulation.simulate(7, 3, 20), violations=[Violation("conservation", 1.0, "a task is gone")]
    )
    monkeypatch.setattr(command, "simulate", lambda *_arguments, **_options: broken)
    said = lab(*SMALL)
    assert said.code == 1 and "a task is gone" in said.err
    assert lab(*SMALL, "--json").json()["violations"] == [
        {"at": 1.0, "invariant": "conservation", "why": "a task is gone"}
    ]


def test_a_spanish_reader_reads_the_timeline_in_spanish(lab: Commands) -> None:
    i18n.set_language("es")
    assert "workers lost" not in lab.done(*SMALL).out
