"""Inside the ``lab`` container: JupyterLab needs its token, and a notebook has the whole cluster."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from labkit.cluster import Cluster
from labkit.core.errors import LabkitError
from labkit.practice.exercise import find
from labkit.practice.workspace import solution_of
from tests.tools.docker_rig import ComposeProject
from tests.tools.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

NOTEBOOK = Path(__file__).with_name("inside.md")


def in_lab(project: ComposeProject, *words: str, given: str = "") -> str:
    """Run a command in the lab container, with ``given`` as its standard input; return what it printed."""
    command = [*project.docker.compose_command(), "exec", "-T", "lab", *words]
    ran = subprocess.run(
        command, env=project.environ, input=given, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def text_of(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_a_notebook_in_the_lab_submits_kills_and_charts(project: ComposeProject, cluster: Cluster) -> None:
    notebook = nbformat.writes(jupytext.read(NOTEBOOK))
    in_lab(project, "sh", "-c", "cat > /tmp/inside.ipynb", given=notebook)
    in_lab(project, "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", "/tmp/inside.ipynb")
    executed = nbformat.reads(in_lab(project, "cat", "/tmp/inside.ipynb"), as_version=4)
    joined, submitted, killed, restarted, drawn, refused = [
        cell for cell in executed.cells if cell.cell_type == "code"
    ]
    assert text_of(joined) == "['worker-1', 'worker-2', 'worker-3']\n"
    assert text_of(submitted) == "60 before\n"
    assert "60 with two of three" in text_of(killed) and "'worker-2': 'killed'" in text_of(killed)
    assert text_of(restarted) == "True True\n"
    assert text_of(drawn) == "[]\n"
    assert any("image/png" in output.get("data", {}) for output in drawn.outputs)
    assert "docker-compose up -d --no-recreate --scale worker=2" in text_of(refused)
    events = cluster.history().events
    assert [e.detail["fault"] for e in events if e.kind == "fault"] == ["kill", "start"]
    (lost,) = [e for e in events if e.kind == "lost"]
    assert (lost.worker, lost.detail["cause"]) == ("worker-2", "closed")


def test_an_exercise_in_the_lab_is_checked_and_recorded_where_workers_look(project: ComposeProject) -> None:
    ids = ["first-task", "redis-queue"]
    cells = [f"%%exercise {one}\n{solution_of(find(one), 'es')}" for one in ids]
    first = 'from labkit.practice.notebook import begin\nbegin("es")'
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = new_notebook(cells=[new_code_cell(one) for one in [first, *cells]], metadata=kernel)
    in_lab(project, "sh", "-c", "cat > /tmp/exercises.ipynb", given=nbformat.writes(notebook))
    in_lab(
        project, "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", "/tmp/exercises.ipynb"
    )
    executed = nbformat.reads(in_lab(project, "cat", "/tmp/exercises.ipynb"), as_version=4)
    shown = [output.data["text/plain"] for cell in executed.cells[1:] for output in cell.outputs]
    assert [text.splitlines()[0].rpartition(": ")[2] for text in shown] == ["aprobado", "aprobado"], shown
    lines = in_lab(project, "cat", "/lab/learner/work/progress.jsonl").splitlines()
    assert [(line["exercise"], line["kind"]) for line in map(json.loads, lines)] == [
        (one, "pass") for one in ids
    ]


def test_jupyterlab_answers_only_with_its_token(project: ComposeProject, cluster: Cluster) -> None:
    url = cluster.lab_url()
    assert url is not None
    base, token = url.split("/?token=")

    def ask(suffix: str) -> int:
        try:
            with urllib.request.urlopen(f"{base}/api/contents{suffix}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    project.wait_for_output("docker-compose logs --no-log-prefix lab", f"JupyterLab: {url}\n")
    assert wait_until(lambda: ask(f"?token={token}"), 30.0, "JupyterLab to answer") == 200
    assert ask("") == 403 and ask("?token=wrong") == 403


def test_the_host_can_start_a_process_killed_by_the_lab(project: ComposeProject, cluster: Cluster) -> None:
    cluster.wait_until_ready(30.0)
    kill = "from labkit import connect; connect().kill('worker-1')"
    in_lab(project, "python", "-c", kill)
    wait_until(lambda: cluster.workers()[0].status == "lost", 5.0, "its loss")
    assert cluster.workers()[0].process == "running", "its container is up, as Docker sees it"
    with pytest.raises(LabkitError, match="worker-1 is killed: resume does not apply"):
        cluster.resume("worker-1")
    cluster.start("worker-1")
    cluster.wait_until_ready(20.0)


def test_an_environment_variable_gives_a_worker_its_capabilities(
    project: ComposeProject, cluster: Cluster
) -> None:
    project.environ["WORKER_1_CAPABILITIES"] = "resize,blur"
    project.type("docker-compose up -d worker-1")
    served = {w.name: w.capabilities for w in cluster.workers()}
    wait_until(
        lambda: {w.name: w.capabilities for w in cluster.workers()}["worker-1"] == ["blur", "resize"],
        20.0,
        f"what worker-1 serves to change from {served}",
    )
