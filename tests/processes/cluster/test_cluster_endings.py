"""How clusters end: with their opener, by command, by kill -9 of any process; what the next one cleans up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit import jobs
from labkit.cluster import Cluster, connect, open_cluster, ports, start_background
from labkit.cluster.local.start import clean_up, sweep_private
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import (
    ClusterError,
    ClusterNotRunning,
)
from labkit.support import process_groups
from labkit.support.settings import Settings
from tests.tools.clusters import Marks, gone, marks_of
from tests.tools.waiting import require, wait_until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with open_cluster(workers=2, redis=False) as cluster:
        yield cluster


@pytest.fixture
def unusual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Background clusters of the tests take other ports than a cluster in use on this machine."""
    monkeypatch.setattr(ports, "USUAL", ports.choose("127.0.0.1", {}, usual=False))


@pytest.fixture
def background(tmp_path: Path, unusual: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a home folder of their own; a cluster that runs there at the end is ended."""
    monkeypatch.setenv("LABKIT_HOME", str(Path(os.environ["LABKIT_HOME"]) / tmp_path.name))
    settings = Settings.from_environment()
    yield settings
    try:
        connect(settings=settings).down()
    except ClusterNotRunning:
        clean_up(settings=settings)


# --- whose it is --------------------------------------------------------------------------------------------

OPENER = """
import sys, time
from labkit.cluster import open_cluster
try:
    with open_cluster(2, redis=False, api=True) as cluster:
        print(cluster.folder, flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_notebook_that_is_killed_leaves_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", OPENER], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        folder = Path(notebook.stdout.readline().strip())
        supervisor = psutil.Process(notebook.pid).children()
        marks = {str(p.pid): (p.pid, process_groups.birth(p.pid) or "") for p in supervisor[0].children()}
        assert len(marks) == 4, "broker, two workers, HTTP side"
        notebook.kill()
    wait_until(lambda: gone(marks), what="the cluster's end")
    wait_until(lambda: not folder.exists(), what="its folder's end")


@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6])
def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", OPENER],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as notebook:
        with pytest.raises(subprocess.TimeoutExpired):
            notebook.wait(after_s)
        wait_until(lambda: ended_by_ctrl_c(notebook), 20.0, "the notebook's end")
    wait_until(lambda: not list(tmp_path.glob(f"labkit-{'?' * 12}")), what="the folder's end")
    wait_until(lambda: not started_in(tmp_path), what="the last process's end")


def ended_by_ctrl_c(program: subprocess.Popen[bytes]) -> bool:
    """Press Ctrl-C and return whether the program has ended a while later.

    Python loses one now and then while it starts: 1 of 600 with ``python -c "import time; time.sleep(2)"``.
    A user would press again.
    """
    require(sys.platform != "win32", "Ctrl-C for a group of processes")
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
    try:
        program.communicate(timeout=3)
    except subprocess.TimeoutExpired:
        return False
    return True


def started_in(folder: Path) -> list[psutil.Process]:
    """Processes that have this folder for temporary files."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or another user's
    return found


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
@pytest.mark.parametrize("ending", ["close", "killed broker", "killed opener"])
def test_no_unix_socket_stays_however_a_cluster_ends(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    # The name of a socket is short: in a folder of pytest's there would be none, and nothing to be seen.
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)

        def sockets() -> list[Path]:
            return [path for path in Path(folder).rglob("*") if path.is_socket()]

        if ending == "killed opener":
            code = "from labkit import open_cluster; open_cluster(1, redis=False); print(); input()"
            opener = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert opener.stdout is not None and opener.stdout.readline()
            assert len(sockets()) == 2
            opener.kill()
            opener.communicate()
            wait_until(lambda: sockets() == [], 15.0, "the last socket to go")
            return
        with open_cluster(workers=1, redis=False) as cluster:
            assert len(sockets()) == 2
            if ending == "killed broker":
                cluster.kill("broker")
        assert sockets() == []


def test_a_forked_child_can_neither_end_nor_keep_its_parents_cluster(cluster: Cluster) -> None:
    pid = os.fork()
    if pid == 0:
        cluster.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert cluster.status()["broker"] is not None


@pytest.mark.parametrize("first", ["supervisor", "notebook"])
def test_nothing_is_left_when_the_supervisor_is_killed_too(first: str) -> None:
    """The other processes end by themselves; the next cluster removes the folder."""
    with subprocess.Popen([sys.executable, "-c", OPENER], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        folder = RunFolder(Path(notebook.stdout.readline().strip()))
        state = folder.read_state()
        assert state is not None
        marks: Marks = {name: (pid, born) for name, (pid, born) in state["processes"].items()}
        supervisor = psutil.Process(marks["supervisor"][0])
        supervisor.suspend()  # it is to take no part in the end
        if first == "supervisor":
            supervisor.kill()
        notebook.kill()
        notebook.wait(10)
        supervisor.kill()
    wait_until(lambda: gone(marks), 10.0, "the end of all")
    sweep_private()
    wait_until(lambda: not folder.path.exists(), what="its folder's end")


def test_a_cluster_without_supervisor_serves_the_program_that_opened_it() -> None:
    with open_cluster(1, redis=False) as cluster, cluster.client() as client:
        marks = marks_of(cluster)
        os.kill(marks.pop("supervisor")[0], process_groups.KILL)
        assert client.submit(jobs.echo, 1).result(10) == 1
        assert cluster.folder not in sweep_private(), "it is in use"
        assert client.submit(jobs.echo, 2).result(10) == 2
        assert not gone(marks)
    assert gone(marks)


def test_a_folder_that_has_just_been_made_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    young, old, other = (tmp_path / f"labkit-{name}" for name in ("0" * 12, "1" * 12, "notebook"))
    for folder in (young, old, other):
        folder.mkdir()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    assert sweep_private() == [old]
    assert sorted(tmp_path.iterdir()) == [young, other]


# --- the cluster in the background --------------------------------------------------------------------------


def test_a_closed_private_cluster_says_that_it_has_ended() -> None:
    with open_cluster(workers=0, redis=False) as cluster:
        pass
    for ask in (cluster.status, cluster.workers, lambda: cluster.kill("broker"), lambda: cluster.scale(2)):
        with pytest.raises(ClusterNotRunning, match=r"has ended, .* open_cluster\(\) opens a new one"):
            ask()


def test_background_cluster_is_found_by_name_and_ended_from_anywhere(background: Settings) -> None:
    with pytest.raises(
        ClusterNotRunning, match="no cluster 'default' is running; python -m labkit up starts one"
    ):
        connect(settings=background)
    with start_background(2, settings=background) as started:
        marks = marks_of(started)
        assert dict(started.ports) == dict(ports.USUAL)
    assert not gone(marks), "it lives on without the handle"
    with connect(settings=background) as found:
        assert [w.status for w in found.workers()] == ["ready", "ready"]
        with pytest.raises(ClusterError, match="runs already"):
            start_background(1, settings=background)
        found.down()
    assert gone(marks)
    assert found.folder.is_dir() and (found.folder / "events.jsonl").exists()
    assert not (found.folder / "token").exists() and not (found.folder / "lock").exists()
    with pytest.raises(ClusterNotRunning):
        connect(settings=background)


def test_handle_whose_cluster_is_down_has_no_connection_left(background: Settings) -> None:
    """A client that is left open would look for its broker for ever, in a thread of its own."""

    def clients() -> int:
        return sum(thread.name == "labkit-client" for thread in threading.enumerate())

    before = clients()
    started = start_background(1, redis=False, settings=background)
    found = connect(settings=background)
    assert [worker.status for worker in found.workers()] == ["ready"] and clients() == before + 2
    found.down()
    assert clients() == before + 1, "the other handle has its own"
    with pytest.raises(ClusterNotRunning):
        started.status()
    started.down()
    assert clients() == before
    started.close()
    found.close()


def test_a_background_cluster_survives_its_starter(background: Settings) -> None:
    code = "from labkit.cluster import start_background; start_background(1, redis=False)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    with connect(settings=background) as cluster:
        assert [w.status for w in cluster.workers()] == ["ready"]


def test_ctrl_c_before_a_background_cluster_is_ready_leaves_nothing(background: Settings) -> None:
    code = "from labkit.cluster import start_background; start_background(1, redis=False)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as starter:
        folder = background.home / "clusters" / "default"
        wait_until(lambda: (folder / "cluster.json").exists(), what="the cluster to begin")
        marks = marks_of(connect(settings=background))
        starter.send_signal(signal.SIGINT)
        starter.communicate(timeout=10)
    wait_until(lambda: gone(marks), what="the cluster's end")
    assert not (folder / "cluster.json").exists() and not (folder / "token").exists()


def test_next_cluster_cleans_up_after_a_crashed_one(background: Settings) -> None:
    with start_background(2, redis=False, settings=background) as crashed:
        marks = marks_of(crashed)
    os.kill(marks["supervisor"][0], process_groups.KILL)
    wait_until(lambda: not process_groups.is_alive(*marks["supervisor"]), what="its death")
    with pytest.raises(ClusterNotRunning, match="has crashed; python -m labkit up tidies up"):
        connect(settings=background)
    with pytest.raises(ClusterNotRunning):
        crashed.status()
    with start_background(1, redis=False, settings=background) as cluster:
        assert sorted(cluster.cleaned_up) == ["broker", "worker-1", "worker-2"]
        assert gone(marks)
        assert dict(cluster.ports) == dict(ports.USUAL), "its ports are free again"
        assert (cluster.folder / "events-1.jsonl").read_text().startswith('{"at":')


def test_next_cluster_cleans_up_after_one_that_was_killed_whole(background: Settings) -> None:
    with start_background(2, redis=False, settings=background) as crashed:
        marks = marks_of(crashed)
    for pid, _born in marks.values():  # the supervisor first: it would start the others again
        os.kill(pid, process_groups.KILL)
    wait_until(lambda: gone(marks), what="the end of all")
    assert (crashed.folder / "cluster.json").exists() and (crashed.folder / "token").exists()
    with pytest.raises(ClusterNotRunning, match="has crashed"):
        connect(settings=background)
    with start_background(1, redis=False, settings=background) as cluster:
        assert cluster.cleaned_up == [], "no process was left to end"
        assert dict(cluster.ports) == dict(ports.USUAL)
        assert [w.status for w in cluster.workers()] == ["ready"]
        assert (cluster.folder / "events-1.jsonl").read_text().startswith('{"at":')


def test_down_cleans_up_after_a_crash_too(background: Settings) -> None:
    with start_background(1, redis=False, settings=background) as crashed:
        marks = marks_of(crashed)
    os.kill(marks["supervisor"][0], process_groups.KILL)
    wait_until(lambda: not process_groups.is_alive(*marks["supervisor"]), what="its death")
    assert sorted(clean_up(settings=background)) == ["broker", "worker-1"]
    assert gone(marks)
    assert clean_up(settings=background) == []


def test_close_cleans_up_when_the_supervisor_was_killed() -> None:
    with open_cluster(1, redis=False) as cluster:
        marks = marks_of(cluster)
        os.kill(marks["supervisor"][0], process_groups.KILL)
        wait_until(lambda: not process_groups.is_alive(*marks["supervisor"]), what="its death")
        with pytest.raises(ClusterNotRunning):
            cluster.kill("worker-1")
    assert gone(marks)
    assert not cluster.folder.exists()
