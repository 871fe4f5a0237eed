"""``submit`` on every engine: same files, same results, and each bad file is named."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit.executors import ENGINES
from labkit.imaging import image_files
from labkit.imaging.filters import apply_steps, parse_steps
from tests.tools.command_line import Commands, background_cluster, command, free_ports
from tests.tools.waiting import require, wait_until

STEPS = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
FILTERS = ("--filters", "sharpen,edges", "--param", "sharpen.intensity=3")


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    with background_cluster(home, "--workers", 2):
        yield home


@pytest.fixture
def cluster(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures that differ, 96 x 64."""
    folder = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(3)
    for number in range(6):
        image = chance.integers(0, 256, (64, 96, 3), np.uint8)
        image_files.write(folder / f"photo-{number}.png", image)
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_the_same_pixels(
    lab: Commands, cluster: Path, photos: Path, tmp_path: Path, engine: str
) -> None:
    said = lab.done("submit", photos, *FILTERS, "--out", tmp_path, "--engine", engine)
    assert "6 of 6 pictures" in said.out
    for photo in photos.iterdir():
        expected = apply_steps(image_files.read(photo), STEPS)
        assert np.array_equal(image_files.read(tmp_path / f"{photo.stem}-sharpen-edges.png"), expected)
    assert len(list(tmp_path.iterdir())) == 6


def test_json_reports_the_outcome_of_each_file(
    lab: Commands, cluster: Path, photos: Path, tmp_path: Path
) -> None:
    told = lab.done("submit", photos, *FILTERS, "--out", tmp_path, "--format", "jpg", "--json").json()
    assert told["pictures"] == 6 and told["failed"] == [] and told["images_per_s"] > 0
    assert sum(told["workers"].values()) == 6 and set(told["workers"]) <= {"worker-1", "worker-2"}
    for written in told["written"]:
        assert Path(written["output"]).read_bytes().startswith(b"\xff\xd8")
        assert written["attempt"] == 1


def test_bad_files_are_named_and_the_others_are_processed(
    lab: Commands, cluster: Path, photos: Path, tmp_path: Path
) -> None:
    good = photos / "photo-1.png"
    text, truncated, empty = tmp_path / "text.png", tmp_path / "truncated.png", tmp_path / "empty"
    text.write_text("no picture")
    truncated.write_bytes(good.read_bytes()[:500])
    empty.mkdir()
    out = tmp_path / "out"
    said = lab("submit", good, text, truncated, empty, tmp_path / "missing.png", *FILTERS, "--out", out)
    assert said.code == 1
    assert "1 of 5 pictures" in said.out
    failed = said.err.splitlines()
    assert len(failed) == 4 and all(line.startswith("failed: ") for line in failed)
    for name in (
        "text.png is not a PNG",
        "truncated.png is truncated",
        "empty holds no",
        "missing.png does not exist",
    ):
        assert any(name in line for line in failed), said.err
    assert [path.name for path in out.iterdir()] == ["photo-1-sharpen-edges.png"]


def test_wrong_filters_create_no_file(lab: Commands, cluster: Path, photos: Path, tmp_path: Path) -> None:
    lab.refused("submit", photos, "--filters", "sharpen,edgs", "--out", tmp_path / "out", code=2)
    assert not (tmp_path / "out").exists()


def large_photos(folder: Path, n: int) -> Path:
    """Return a new folder of ``n`` pictures, each of which takes a worker some tenths of a second."""
    folder.mkdir()
    chance = np.random.default_rng(5)
    for number in range(n):
        image_files.write(folder / f"{number}.png", chance.integers(0, 256, (400, 600, 3), np.uint8))
    return folder


def test_killed_worker_loses_no_picture(lab: Commands, cluster: Path, photos: Path, tmp_path: Path) -> None:
    large = large_photos(tmp_path / "large", 6)
    batch = command("submit", large, "--filters", "vignette_python", "--out", tmp_path / "out", "--json")

    def working() -> bool:
        rows = lab.done("status", "--json").json()["workers"]
        return any(row["name"] == "worker-2" and row["status"] == "busy" for row in rows)

    wait_until(working, 20.0, "worker-2 to work")
    lab.done("kill", "worker-2")
    out, err = batch.communicate(timeout=60)
    lab.done("start", "worker-2")
    told = json.loads(out)
    assert (batch.returncode, err) == (0, "")
    assert len(told["written"]) == 6
    again = [written["again"] for written in told["written"] if written["attempt"] > 1]
    assert again and all(causes == ["killed"] for causes in again)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_polite_stop_is_not_told_as_a_loss(
    lab: Commands, cluster: Path, photos: Path, tmp_path: Path, language: str
) -> None:
    large = large_photos(tmp_path / "large", 8)
    words = ("submit", large, "--filters", "vignette_python", "--out", tmp_path / "out")
    batch = command(*words, env={**os.environ, "LABKIT_LANG": language})

    def computes_and_holds_more() -> bool:
        rows = lab.done("status", "--json").json()["workers"]
        return any(row["name"] == "worker-2" and row["in_flight"] > 1 for row in rows)

    wait_until(computes_and_holds_more, 20.0, "worker-2 to hold a picture that it has not begun")
    stopped = lab.done("stop", "worker-2").out
    out, err = batch.communicate(timeout=60)
    lab.done("start", "worker-2")
    assert (batch.returncode, err) == (0, "")
    expected = {
        "en": "asked to stop and gave it back",
        "es": "se pidió a su worker que parara, y la devolvió",
    }
    assert expected[language] in out
    assert not any(word in out for word in ("lost", "killed", "perd", "mató"))
    assert "waiting task" in stopped and "back" in stopped


def test_queue_in_redis_shows_all_submitted_pictures_as_the_course_reads_them(
    lab: Commands, cluster: Path, tmp_path: Path
) -> None:
    import redis

    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        image_files.write(folder / f"{number:03}.png", np.full((200, 300, 3), number % 256, np.uint8))
    url = lab.done("status", "--json").json()["redis_url"]
    words = ("submit", folder, "--filters", "vignette_python,edges", "--out", tmp_path / "out", "--json")
    with redis.Redis.from_url(url, decode_responses=True, protocol=2) as client:
        batch = command(*words)
        wait_until(lambda: client.llen("image_tasks") > 200, 20.0, "the whole batch in the queue")
        entries = [json.loads(entry) for entry in client.lrange("image_tasks", 0, -1)]
        workers = {name: json.loads(row) for name, row in client.hgetall("workers").items()}
        queued = lab.done("status", "--json").json()["broker"]["queued"]
        out, err = batch.communicate(timeout=120)
    assert (batch.returncode, err) == (0, "") and len(json.loads(out)["written"]) == 300
    assert queued > 150
    assert {entry["job"] for entry in entries} == {"labkit.jobs:process_encoded"}
    assert len({entry["id"] for entry in entries}) == len(entries)
    ages = [time.time() - datetime.fromisoformat(entry["since"]).timestamp() for entry in entries]
    assert all(-2 < age < 120 for age in ages)
    assert {(row["status"], row["state"]) for row in workers.values()} == {("active", "busy")}
    log = lab.done("logs", "worker-1", "--lines", 1000).out
    lines = [line for line in log.splitlines() if " in all" in line]
    numbers = [re.search(r"worker-1: (\d+) done in ([\d.]+) s, (\d+) in all", line) for line in lines]
    assert lines and all(numbers), lines
    assert sum(int(found[1]) for found in numbers if found) == max(
        int(found[3]) for found in numbers if found
    )
    assert any("(edges " in line and "vignette_python " in line for line in lines)


@pytest.mark.parametrize("engine", ENGINES)
def test_interrupted_batch_leaves_no_half_file_and_no_running_task(
    lab: Commands, cluster: Path, tmp_path: Path, engine: str
) -> None:
    out = tmp_path / "out"
    require(sys.platform != "win32", "Ctrl-C for a group of processes")
    # Interrupt a whole process group, as a terminal's Ctrl-C does.
    batch = command(
        "submit",
        "--filters",
        "blur,vignette_python",
        "--out",
        out,
        "--engine",
        engine,
        start_new_session=True,
    )
    wait_until(lambda: out.exists() and any(out.glob("*.png")), 30.0, "the first picture")
    os.killpg(batch.pid, signal.SIGINT)
    said, err = batch.communicate(timeout=30)
    assert (batch.returncode, said, err.count("\n")) == (130, "", 1), err
    written = len(list(out.iterdir()))
    assert err.startswith(f"Interrupted: {written} result") and f"{18 - written} pictures were not" in err
    assert str(out) in err
    assert not list(out.glob(".*"))
    for each in out.iterdir():
        image_files.read(each)
    if engine == "cluster":
        told: dict[str, Any] = {}

        def idle() -> bool:
            told.update(lab.done("status", "--json").json()["broker"])
            return told["queued"] == told["assigned"] == 0

        wait_until(idle, 20.0, f"the cluster to have dropped the batch: {told}")


def test_cluster_going_down_midway_is_reported_in_one_line(
    lab: Commands, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker is busy with other work, so the batch is still queued when the cluster goes down.
    told = {**free_ports(), "LABKIT_HOME": str(tmp_path / "home"), "WORKER_CAPABILITIES": "resize"}
    for variable, value in told.items():
        monkeypatch.setenv(variable, value)
    lab.done("up", "--workers", "1")
    batch = command("submit", photos, *FILTERS, "--out", tmp_path / "out")
    wait_until(
        lambda: lab.done("status", "--json").json()["broker"]["queued"] > 0, 20.0, "the batch to arrive"
    )
    lab.done("down")
    out, err = batch.communicate(timeout=30)
    assert batch.returncode == 1 and "0 of 6 pictures" in out
    assert "went down in the middle" in err and "6 pictures were not processed" in err
    assert "Traceback" not in err
