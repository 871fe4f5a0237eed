"""A learner's policy is found by its name, or its error shows before anything starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.calls import policy_loader
from labkit.core.broker.policies import POLICIES
from labkit.core.errors import InvalidInput, SettingsError
from labkit.support.settings import Settings
from tests.tools.command_line import Commands

FIRST = "def choose(task, workers, now):\n    return min(workers, key=lambda worker: worker.id)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose module has a name of its own, so that no test gets another test's import."""
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def test_a_learners_own_function_is_found_by_its_name(folder: Path) -> None:
    (folder / "mine_found.py").write_text(FIRST)
    assert policy_loader.load("mine_found:choose", folder).__name__ == "choose"


def test_an_edited_policy_is_loaded_again(folder: Path) -> None:
    path = folder / "mine_edited.py"
    for name in ("first", "other"):  # of one length, in one second
        path.write_text(f"def choose(task, workers, now): return workers[0]\nchoose.title = '{name}'\n")
        os.utime(path, (1e9, 1e9))
        assert vars(policy_loader.load("mine_edited:choose", folder))["title"] == name
    path.write_text(path.read_text().replace("choose", "select"))
    assert policy_loader.load("mine_edited:select", folder).__name__ == "select"


def test_the_labs_policies_are_found_without_an_import() -> None:
    assert policy_loader.load("round_robin") is POLICIES["round_robin"]


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        (FIRST, "mine_a:chose", r"mine_a has no function chose\(task, workers, now\)"),
        ("choose = 3\n", "mine_b:choose", "has no function choose"),
        ("def choose(task): ...\n", "mine_c:choose", r"no function choose\(task, workers, now\)"),
        ("import nothing_of_the_sort\n", "mine_d:choose", "importing mine_d failed with ModuleNotFoundError"),
        ("def choose(:\n", "mine_e:choose", "importing mine_e failed with SyntaxError"),
        ("exit(3)\n", "mine_f:choose", "importing mine_f failed with SystemExit"),
        (FIRST, "mine_g:not.a.name", "is unknown; known: least_busy"),
        (FIRST, "the_best", "is unknown; known: least_busy, .* or your own, as module:function"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_reason(folder: Path, source: str, name: str, said: str) -> None:
    (folder / f"{name.partition(':')[0]}.py").write_text(source)
    with pytest.raises(InvalidInput, match=said):
        policy_loader.load(name, folder)


def test_a_missing_module_says_where_the_file_belongs(folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_loader.load("work_of_mine.fair:choose", folder)
    assert str(folder / "work_of_mine" / "fair.py") in str(caught.value)
    assert "choose(task, workers, now)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("work/mine.py:choose", "work.mine:choose"),
        ("./work/mine.py:pick", "work.mine:pick"),
        ("work\\mine.py", "work.mine:choose"),
        ("work.mine.py:choose", "work.mine:choose"),
        ("work.mine", "work.mine:choose"),
        ("work.mine.choose", "work.mine:choose"),
        ("work.mine:choose()", "work.mine:choose"),
        ("mine:shortest()", "mine:shortest"),
        ("mine.py", "mine:choose"),
        ("mine:", "mine:choose"),
    ],
)
def test_a_file_in_place_of_a_module_is_put_right(folder: Path, name: str, meant: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_loader.load(name, folder)
    assert repr(name) in str(caught.value) and str(caught.value).endswith(f"write {meant}")


@pytest.mark.parametrize("name", ["best", "least-busy", "a b.c", ":choose", ""])
def test_a_name_that_can_be_no_module_is_unknown(folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="is unknown; known: least_busy"):
        policy_loader.load(name, folder)


def test_the_setting_accepts_both_kinds_of_names_and_no_other() -> None:
    for name in ("round_robin", "work.mine:choose"):
        assert Settings.from_environment({"LABKIT_POLICY": name}).policy == name
    with pytest.raises(SettingsError, match="LABKIT_POLICY='best'"):
        Settings.from_environment({"LABKIT_POLICY": "best"})


def test_the_simulator_accepts_it_and_repeats_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Commands(capsys)
    (folder / "mine_simulated.py").write_text(FIRST)
    monkeypatch.chdir(folder)
    told = lab.done(
        "simulate", "--tasks", "20", "--faults", "none", "--policy", "mine_simulated:choose", "--json"
    ).json()
    assert told["policy"] == "mine_simulated:choose" and told["command"].endswith("mine_simulated:choose")
    first = [event["worker"] for event in told["events"] if event["event"] == "dispatched"]
    assert first.count("worker-1") > len(first) / 2
    assert "no function chose" in lab.refused("simulate", "--policy", "mine_simulated:chose", code=2)
    assert "no function chose" in lab.refused("up", "--policy", "mine_simulated:chose", code=2)
