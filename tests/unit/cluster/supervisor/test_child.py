"""A supervised process by itself: the clock is the test's, the processes are a shell's."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from labkit.cluster.compose.agent import Contained
from labkit.cluster.processes import WORKER, check_fits
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor.child import LOCKED, TRANSITIONS, Child
from labkit.core.errors import ClusterError
from labkit.core.transitions import START
from tests.tools.waiting import require, wait_until

DRAIN_S = 10.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A worker that ends at once, until the file ``well`` is there: from then on it lives."""
    require(sys.platform != "win32", "a shell")
    (tmp_path / "logs").mkdir()
    script = f"test -e {tmp_path / 'well'} && exec sleep 600; exit 3"
    made = Child("worker-1", WORKER, ["sh", "-c", script], {}, RunFolder(tmp_path), DRAIN_S)
    yield made
    made.kill()
    made.wait(10.0)


def ended(child: Child, now: float) -> None:
    wait_until(lambda: child.collect(now), what="its end")


def test_stop_while_restarting_sets_no_time_limit_for_the_next_start(child: Child, tmp_path: Path) -> None:
    child.start(0.0)
    ended(child, 1.0)
    assert child.state == "restarting"
    child.stop(2.0)
    assert (child.state, child.next_deadline()) == ("stopped", None)
    (tmp_path / "well").touch()
    child.start(3.0)
    assert child.next_deadline() is None, "no command has asked this process to end"
    child.stop(40.0)
    assert child.next_deadline() == 40.0 + DRAIN_S


def no_descriptors(*_: object) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


def test_child_takes_every_transition_of_the_table_and_no_other(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "well").touch()
    steps: set[tuple[str, str]] = set()
    state, now = START, 0.0

    def step(do: Callable[[], object]) -> str:
        nonlocal state, now
        now += 100.0
        do()
        steps.add((state, child.state))
        state = child.state
        return state

    def start() -> None:
        child.start(now)

    def stop() -> None:
        child.stop(now)

    def tick() -> None:
        child.tick(now)

    def end() -> None:
        ended(child, now)

    def end_by_itself() -> None:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        end()

    for do in (start, child.pause, child.resume, end_by_itself, tick, child.pause, end_by_itself, start):
        step(do)
    for do in (stop, start, end, tick, child.pause, stop, end, start, child.kill, end, start):
        step(do)
    for do in (child.pause, child.kill, child.kill, end):
        step(do)
    assert state == "killed"
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        for do in (start, tick, stop, start):
            step(do)
        fresh = Child("worker-2", WORKER, ["true"], {}, RunFolder(tmp_path), DRAIN_S)
        fresh.start(now)
        steps.add((START, fresh.state))
    staying = {("stopping", "stopping")}  # killed again
    assert steps - staying == TRANSITIONS.keys()


@pytest.mark.parametrize("command", ["kill", "stop", "pause", "resume", "start"])
def test_commands_apply_in_the_states_that_have_their_transition(command: str) -> None:
    allowed = {before for (before, _), occasion in TRANSITIONS.items() if command in occasion.split(" (")[0]}
    allowed -= {START} | ({"stopping"} if command == "stop" else set())  # "ended after stop" is no command
    for state in {state for pair in TRANSITIONS for state in pair} - {START}:
        if state in allowed or (command, state) == ("kill", "stopping"):
            check_fits(command, "worker-1", state)
        else:
            with pytest.raises(ClusterError):
                check_fits(command, "worker-1", state)


def test_start_without_descriptors_is_repeated_later(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        child.start(0.0)
    assert (child.state, child.popen) == ("restarting", None)
    assert child.row(0.0)["last_exit"] == "cannot be started: Too many open files"
    child.tick(1.0)
    assert child.state == "running"


# --- what is forgotten, and when ----------------------------------------------------------------------------


def a_sleeper(folder: Path) -> Child:
    """A worker that lives until it is killed."""
    require(sys.platform != "win32", "signals")
    (folder / "logs").mkdir(exist_ok=True)
    return Child("worker-1", WORKER, ["sleep", "600"], {}, RunFolder(folder), DRAIN_S)


def die_of(child: Child, name: str, now: float) -> None:
    assert child.pid is not None
    os.kill(child.pid, signal.Signals[name])
    ended(child, now)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Child]:
    made = a_sleeper(tmp_path)
    yield made
    made.kill()
    made.wait(10.0)


def test_what_is_killed_from_outside_is_started_again_at_once_however_often(sleeper: Child) -> None:
    sleeper.start(0.0)
    for now in range(3, 60, 3):
        die_of(sleeper, "SIGKILL", float(now))
        assert sleeper.next_deadline() == now, "at once"
        sleeper.tick(float(now))
        assert (sleeper.state, sleeper.row(now)["short_lives"]) == ("running", 0)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGPROF"])
def test_a_signal_of_its_own_doing_is_a_short_life(sleeper: Child, name: str) -> None:
    sleeper.start(0.0)
    die_of(sleeper, name, 1.0)
    sleeper.tick(1.0)
    die_of(sleeper, name, 2.0)
    assert sleeper.row(2.0)["short_lives"] == 2
    assert sleeper.next_deadline() == 2.25


def test_a_kill_while_the_kernel_ran_out_of_memory_is_a_short_life(
    sleeper: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(100))
    monkeypatch.setattr("labkit.cluster.supervisor.child.kills_for_memory", lambda: next(count))
    sleeper.start(0.0)
    die_of(sleeper, "SIGKILL", 1.0)
    assert sleeper.row(1.0)["short_lives"] == 1


def test_what_is_killed_again_and_again_as_soon_as_it_starts_waits_a_moment(sleeper: Child) -> None:
    sleeper.start(0.0)
    now = 0.0
    pauses = []
    for _ in range(7):
        now += 0.1
        die_of(sleeper, "SIGKILL", now)
        due = sleeper.next_deadline()
        assert due is not None
        pauses.append(round(due - now, 3))
        now = due
        sleeper.tick(now)
    assert pauses == [0.0] * 4 + [0.5] * 3


def test_short_lives_are_forgotten_while_the_process_lives_on(child: Child, tmp_path: Path) -> None:
    child.start(0.0)
    now = 0.0
    for _ in range(3):
        now += 0.5
        ended(child, now)
        now += 5.0
        if len(child.row(now)["last_exit"]) and child.row(now)["short_lives"] == 3:
            (tmp_path / "well").touch()
        child.tick(now)
    assert child.row(now + 1.0)["short_lives"] == 3
    assert child.row(now + 25.0)["short_lives"] == 0


def locked(make: type[Child], folder: Path) -> Child:
    """A worker that ends as one does whose task kept the interpreter lock."""
    require(sys.platform != "win32", "a shell")
    return make("worker-1", WORKER, ["sh", "-c", "kill -PROF $$"], {}, RunFolder(folder), DRAIN_S)


def test_supervisor_without_descriptors_survives_a_log_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    child = locked(Child, tmp_path)
    child.start(0.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        ended(child, 1.0)
    assert child.row(1.0)["last_exit"] == LOCKED


def test_in_a_container_log_lines_go_to_the_containers_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = locked(Contained, tmp_path / "nowhere")
    child.start(0.0)
    ended(child, 1.0)
    (line,) = capfd.readouterr().out.splitlines()
    assert line == "--- worker-1 ended: a task kept the interpreter lock; 'Current thread' says where ---"


def test_freezing_an_ending_process_without_signals_is_no_error(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def gone(pid: int) -> None:
        asked.append(pid)
        raise psutil.NoSuchProcess(pid)

    child.start(0.0)
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "Process", gone)
        child._do_on_windows("suspend")
        assert asked == [child.pid]
        ended(child, 1.0)
        child._do_on_windows("suspend")
        assert len(asked) == 1, "without a number, psutil would take this very process"


def test_unknown_command_never_applies() -> None:
    with pytest.raises(ClusterError, match="worker-1 is running: explode does not apply"):
        check_fits("explode", "worker-1", "running")
