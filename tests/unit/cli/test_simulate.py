"""``simulate`` shows a seeded run, the same each time; exit code 0 means that every promise was kept."""

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


def test_run_is_shown_with_the_command_that_repeats_it(lab: Commands) -> None:
    shown = lab.done(*SMALL)
    assert "worker-3" in shown.out
    again = shown.out.strip().splitlines()[-1].partition(f"{output.call()} ")[2]
    assert again.split()[:7] == list(SMALL)
    assert lab.done(*again.split(), "--json").json()["events"] == lab.done(*SMALL, "--json").json()["events"]


def test_repeat_command_includes_thorough_and_wire(lab: Commands) -> None:
    shown = lab.done(*SMALL, "--thorough", "--wire")
    again = shown.out.strip().splitlines()[-1].partition(f"{output.call()} ")[2]
    assert again.endswith(" --thorough --wire")
    assert lab.done(*again.split(), "--json").json()["events"] == lab.done(*SMALL, "--json").json()["events"]
    assert "--wire" not in lab.done(*SMALL).out


def test_json_holds_the_whole_run(lab: Commands) -> None:
    document = lab.done(*SMALL, "--faults", "kill", "--policy", "round_robin", "--json").json()
    assert (document["seed"], document["workers"], document["tasks"]) == (7, 3, 20)
    assert (document["faults"], document["policy"], document["ok"]) == (["kill"], "round_robin", True)
    assert sum(event["event"] == "submitted" for event in document["events"]) >= 20


def test_run_without_faults_is_possible(lab: Commands) -> None:
    assert lab.done(*SMALL, "--faults", "none", "--json").json()["faults"] == []


def test_the_help_names_every_fault(lab: Commands) -> None:
    out = lab.done("simulate", "--help").out
    assert all(name in out for name in FAULTS)


def test_broken_promise_fails_with_a_report(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(
        simulation.simulate(7, 3, 20), violations=[Violation("conservation", 1.0, "a task is gone")]
    )
    monkeypatch.setattr(command, "simulate", lambda *_arguments, **_options: broken)
    shown = lab(*SMALL)
    assert shown.code == 1 and "a task is gone" in shown.err
    assert lab(*SMALL, "--json").json()["violations"] == [
        {"at": 1.0, "invariant": "conservation", "why": "a task is gone"}
    ]


def test_timeline_is_shown_in_spanish_to_a_spanish_reader(lab: Commands) -> None:
    i18n.set_language("es")
    assert "workers lost" not in lab.done(*SMALL).out
