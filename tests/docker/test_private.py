"""``open_cluster(backend="compose")``: a cluster for one program, which ends with it, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import open_cluster, open_executor, process_batch
from labkit.cluster.compose.docker import Docker
from labkit.core.history import History
from labkit.imaging.photos import bundled
from tests.tools.command_line import ROOT, command
from tests.tools.demo_report import assert_report_is_right
from tests.tools.docker_rig import built, require_docker
from tests.tools.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

OPENS = """
import time
from labkit import open_cluster
cluster = open_cluster(1, backend="compose", redis=False, ready_timeout_s=None)
print(cluster._backend._docker.project, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def _images() -> None:
    require_docker()
    built()


def left_of(project: str) -> list[str]:
    docker = Docker(project, os.environ)
    label = f"label=com.docker.compose.project={project}"
    listed = (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"])
    return [found for words in listed for found in docker.run(*words, "--filter", label).split()]


def test_a_private_cluster_gives_the_same_pixels_and_leaves_nothing() -> None:
    pictures = [photo.array() for photo in bundled()[:4]]
    with open_executor("sequential") as plain:
        expected = process_batch(plain, pictures, ["sharpen", "edges"])
    with open_cluster(2, backend="compose", redis=False, capabilities={"worker-1": ["resize"]}) as cluster:
        project = cluster._backend._docker.project  # type: ignore[attr-defined]  # of its backend
        assert cluster.redis_url is None and [w.name for w in cluster.workers()] == ["worker-1", "worker-2"]
        with open_executor("cluster", cluster=cluster) as executor:
            results = process_batch(executor, pictures, ["sharpen", "edges"])
        assert all((ours == theirs).all() for ours, theirs in zip(results, expected, strict=True))
        assert cluster.history().share() == {"worker-1": 0, "worker-2": 4}, "worker-1 serves another filter"
    assert left_of(project) == []


def test_a_private_cluster_ends_with_its_killed_program() -> None:
    program = subprocess.Popen([sys.executable, "-c", OPENS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        project = program.stdout.readline().strip()
        assert left_of(project)
    finally:
        program.kill()
        program.communicate()
    wait_until(lambda: left_of(project) == [], 30.0, "its containers, networks and volumes to go")


def test_the_demo_meets_its_targets_on_containers(tmp_path: Path) -> None:
    demo = command("demo", "--backend", "compose", "--json", "--out", tmp_path / "out")
    out, err = demo.communicate(timeout=240)
    report = json.loads(out)
    with (tmp_path / "out" / "events.jsonl").open() as lines:
        missed = assert_report_is_right(report, History.from_lines(lines))
    assert demo.returncode == (1 if missed else 0), err + json.dumps(report["targets"], indent=1)
