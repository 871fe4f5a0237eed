"""``simulate --replay``: the table, the chart, one line for each thing that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from labkit.core.protocol.exit_codes import FAILED, NOT_UNDERSTOOD
from tests.tools.command_line import Commands

ROOT = Path(__file__).parents[3]
KILL = ROOT / "tests" / "simulated" / "recordings" / "kill.jsonl"
LINES = KILL.read_text().splitlines()
WHAT_IF = ("simulate", "--replay", str(KILL))


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_the_recording_and_its_replay_stand_below_each_other(lab: Commands) -> None:
    shown = lab.done(*WHAT_IF).out
    assert "recorded" in shown and "replayed" in shown and "what if" not in shown
    assert "The replay of the run as it was takes" in shown


@pytest.mark.parametrize(
    "changed", [("--policy", "round_robin"), ("--workers", "5"), ("--without-faults",), ("--workers", "1")]
)
def test_what_is_changed_gets_a_row_of_its_own(lab: Commands, changed: tuple[str, ...]) -> None:
    assert "what if" in lab.done(*WHAT_IF, *changed).out


def test_a_recording_without_outcomes_does_not_claim_how_close_its_replay_is(
    lab: Commands, tmp_path: Path
) -> None:
    first = next(number for number, line in enumerate(LINES) if '"event":"done"' in line.replace(" ", ""))
    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(LINES[:first]) + "\n")
    shown = lab("simulate", "--replay", cut).out
    assert "No task of the recording has an outcome" in shown and "to within" not in shown


def test_the_same_replay_prints_the_same(lab: Commands) -> None:
    words = (*WHAT_IF, "--policy", "random_choice", "--json")
    assert lab.done(*words).json() == lab.done(*words).json()


def test_json_has_the_figures_and_the_distance(lab: Commands) -> None:
    document = lab.done(*WHAT_IF, "--without-faults", "--json").json()
    assert document["figures"]["recorded"]["requeued"] == 2
    assert document["figures"]["what_if"]["requeued"] == 0
    assert abs(document["distance"]["makespan"]) < 0.02
    assert sum(event["event"] == "done" for event in document["events"]) == 40


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_chart_is_drawn(lab: Commands, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"replay{suffix}"
    assert str(file) in lab.done(*WHAT_IF, "--chart", str(file)).out
    if suffix == ".png":
        with Image.open(file) as picture:
            assert picture.width == 1000
    else:
        assert b"<svg" in file.read_bytes()


@pytest.mark.parametrize("name", ["mine.py", "mine.py:choose", "mine.py:other"])
def test_a_policy_may_be_a_file(lab: Commands, tmp_path: Path, name: str) -> None:
    code = "def choose(task, workers, now):\n    return workers[-1]\n\nother = choose\n"
    (tmp_path / "mine.py").write_text(code)
    assert "what if" in lab.done(*WHAT_IF, "--policy", str(tmp_path / name)).out


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def choose(task, workers, now):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def choose(task, workers, now):\n    return 'worker-1'\n", "failed"),
        ("def choose(task, workers, now):\n    return None\n", "40 of 40 tasks never ended"),
    ],
)
def test_a_policy_that_fails_gets_one_line(lab: Commands, tmp_path: Path, code: str, why: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(code)
    shown = lab(*WHAT_IF, "--policy", str(file))
    assert shown.code == FAILED and len(shown.err.strip().splitlines()) == 1, shown
    assert why in shown.err


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "no function choose"),
        ("def choose(task):\n    return None\n", "no function choose"),
        ("def choose(\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("import nothing_of_the_kind\n", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_holds_no_policy_is_refused(lab: Commands, tmp_path: Path, code: str, why: str) -> None:
    file = tmp_path / "none.py"
    file.write_text(code)
    assert why in lab.refused(*WHAT_IF, "--policy", str(file), code=NOT_UNDERSTOOD)


def test_a_recorded_policy_that_is_not_here_is_replaced_with_a_line(lab: Commands, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(LINES).replace('"least_busy"', '"work.gone:choose"') + "\n")
    shown = lab("simulate", "--replay", str(file), "--policy", "round_robin")
    assert shown.code == 0 and "work.gone:choose is not here" in shown.err
    assert "work.gone" in lab.refused("simulate", "--replay", str(file), code=NOT_UNDERSTOOD)


STRANGE = json.dumps({"at": 25680.0, "event": "moonrise", "phase": "full"})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([*LINES, '{"at":25690.1,"eve'], "the last line is cut off"),
        ([*LINES[:20], '{"at":25690.1,"eve', *LINES[20:]], "1 event cannot be read"),
        ([*LINES[:20], STRANGE, STRANGE, *LINES[20:]], "2 events of unknown kinds are left out: moonrise"),
        (LINES[:-1], "1 task had no outcome"),
    ],
)
def test_what_is_left_out_of_the_replay_is_said_in_a_line(
    lab: Commands, tmp_path: Path, lines: list[str], why: str
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines))
    shown = lab("simulate", "--replay", str(file))
    assert shown.code == 0 and why in shown.err
    assert len(shown.err.strip().splitlines()) == 1, shown.err
    assert "replayed" in shown.out


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no event"),
        (b"\n\n", "no event"),
        (b'{"at":1.0,"eve', "no event"),
        (b"\xff\xfe\x00binary\x00" * 50, "no event"),
        ("\n".join(LINES[60:]).encode(), "begins in the middle"),
        ("\n".join(LINES[:4]).encode(), "no task was submitted"),
        (b"[1, 2]\n3\n", "no event"),
    ],
)
def test_a_file_that_cannot_be_replayed_gets_one_line(
    lab: Commands, tmp_path: Path, data: bytes, why: str
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(data)
    said = lab.refused("simulate", "--replay", str(file), code=NOT_UNDERSTOOD)
    assert why in said and "events.jsonl" in said


def test_a_file_that_is_not_there_or_is_a_folder_gets_one_line(lab: Commands, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jsonl"):
        said = lab.refused("simulate", "--replay", str(path), code=NOT_UNDERSTOOD)
        assert "cannot be replayed" in said


@pytest.mark.parametrize(
    "words",
    [
        (*WHAT_IF, "--tasks", "5"),
        (*WHAT_IF, "--faults", "kill"),
        (*WHAT_IF, "--workers", "0"),
        (*WHAT_IF, "--chart", "picture.bmp"),
        (*WHAT_IF, "--chart", "no/such/folder/picture.png"),
        ("simulate", "--without-faults"),
        ("simulate", "--chart", "picture.png"),
    ],
)
def test_options_that_do_not_fit_are_refused(lab: Commands, words: tuple[str, ...]) -> None:
    said = lab.refused(*words, code=NOT_UNDERSTOOD)
    assert words[-1] in said or words[-2] in said
