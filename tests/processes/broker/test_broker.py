"""A broker and its workers as processes: whatever happens to them, each task has exactly one outcome.

The storms, the freezes and the deaths of brokers are in the fault suite:
``tests/processes/faults/test_fault_suite.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit import jobs
from labkit.core.errors import (
    DeadlineExceeded,
    JobRefused,
    NoWorker,
    TaskFailed,
)
from labkit.core.protocol import exit_codes
from labkit.imaging import image_files, photos
from labkit.imaging.filters import apply_steps, parse_steps
from tests.tools.rig import Rig, results
from tests.tools.waiting import wait_until

MB = 1 << 20
timing = pytest.mark.xdist_group("timing")
"""These tests measure seconds, so they do not run at the same time."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two workers; no test of this module kills or freezes them."""
    with Rig(tmp_path_factory.mktemp("shared") / "rig", workers=2) as rig:
        yield rig


def busy_with(rig: Rig, future: Future[Any]) -> str:
    """Return the name of the worker on which this task has started."""
    return rig.wait_for_event("started", task=future.task_id).worker  # type: ignore[attr-defined]


# --- what goes there and comes back -------------------------------------------------------------------------


def test_a_tiny_task_comes_back(rig: Rig) -> None:
    client = rig.client()
    future = client.submit(jobs.add, 2, b=3)
    assert future.result(10) == 5
    assert future.worker in rig.workers and future.attempt == 1 and future.compute_s is not None
    # On a busy machine even a tiny task may take the millisecond after which its start is announced.
    story = [event.kind for event in wait_story(rig, future, "done") if event.kind != "started"]
    assert story == ["submitted", "dispatched", "done"]


def wait_story(rig: Rig, future: Future[Any], last: str) -> list[Any]:
    task: str = future.task_id  # type: ignore[attr-defined]
    rig.wait_for_event(last, task=task)
    return rig.events(task=task)


def test_thousands_of_tiny_tasks_come_back_each_to_its_own_future(rig: Rig) -> None:
    client = rig.client()
    futures = [client.submit(jobs.echo, number) for number in range(3000)]
    assert results(futures) == list(range(3000))
    rig.check_outcomes(futures)
    assert {future.worker for future in futures} == {"worker-1", "worker-2"}


def test_pictures_travel_as_arrays_and_as_files(rig: Rig) -> None:
    client = rig.client()
    steps = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
    photo = photos.bundled()[0]
    expected = apply_steps(photo.array(), steps)
    as_array = client.submit(jobs.process_image, photo.array(), steps)
    as_file = client.submit(jobs.process_encoded, photo.bytes(), steps)
    assert np.array_equal(as_array.result(20), expected)
    assert np.array_equal(image_files.decode(as_file.result(20)), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(25 * MB, dtype=np.uint8).reshape(5120, 5120),
        np.arange(60_000, dtype=np.float64).reshape(3, 100, 200)[:, ::2, :],
        np.zeros((0, 7), np.int16),
        np.array(3.5, np.float32),
    ],
    ids=["25 MB", "not in one piece", "empty", "a single number"],
)
def test_arrays_of_any_shape_travel_both_ways(rig: Rig, array: np.ndarray) -> None:
    back = rig.client().submit(jobs.echo, array).result(30)
    assert back.dtype == array.dtype and back.shape == array.shape and np.array_equal(back, array)


def test_a_task_may_mix_arrays_and_small_values(rig: Rig) -> None:
    value = {"big": np.ones((600, 600), np.float32), "small": [1, None, "é", b"x" * 100_000], "t": (1.5, {2})}
    back = rig.client().submit(jobs.echo, value).result(20)
    assert np.array_equal(back["big"], value["big"])  # type: ignore[arg-type]
    assert (back["small"], back["t"]) == (value["small"], value["t"])


def test_an_exception_is_one_failure_with_its_traceback(rig: Rig) -> None:
    future = rig.client().submit(jobs.fail, "the cup is empty")
    error = future.exception(10)
    assert isinstance(error, TaskFailed) and isinstance(error, RuntimeError)
    assert "in fail" in error.remote_traceback and "the cup is empty" in error.remote_traceback
    story = [(event.kind, event.attempt) for event in wait_story(rig, future, "failed")]
    assert [line for line in story if line[0] != "started"] == [
        ("submitted", 0),
        ("dispatched", 1),
        ("failed", 1),
    ]


@pytest.mark.parametrize(
    ("job", "kind", "said"),
    [
        ("work:odd_text", ValueError, "a file called"),
        ("work:mute", TaskFailed, "its text cannot be read"),
        ("work:leave", TaskFailed, "SystemExit"),
        ("os:getcwd", JobRefused, "os"),
        ("work:absent", TaskFailed, "absent"),
    ],
)
def test_unusual_failures_fail_the_task_and_spare_the_worker(
    rig: Rig, job: str, kind: type[Exception], said: str
) -> None:
    pids = {name: process.pid for name, process in rig.workers.items()}
    error = rig.client().submit(job).exception(10)
    assert isinstance(error, kind) and isinstance(error, TaskFailed) and said in str(error)
    assert {row["pid"] for row in rig.status()["workers"]} == set(pids.values())
    assert all(process.poll() is None for process in rig.workers.values())


def test_two_clients_have_their_own_results(rig: Rig) -> None:
    ours, theirs = rig.client("ours"), rig.client("theirs")
    pairs = [(ours.submit(jobs.echo, n), theirs.submit(jobs.echo, -n)) for n in range(1, 300)]
    assert results([a for a, _ in pairs]) == list(range(1, 300))
    assert results([b for _, b in pairs]) == [-n for n in range(1, 300)]


def test_a_client_that_floods_does_not_delay_another(rig: Rig) -> None:
    flood, other = rig.client("flood"), rig.client("other")
    many = [flood.submit(jobs.spin, 0.002) for _ in range(800)]  # most of a second for two workers
    single = other.submit(jobs.echo, "me too")
    assert single.result(10) == "me too"
    assert not all(future.done() for future in many), "the single task overtook the flood"
    assert len(results(many)) == 800


# --- capabilities and deadlines -----------------------------------------------------------------------------


def test_a_task_goes_only_to_workers_with_its_capabilities(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", task_deadline_s=20) as rig:
        rig.start_worker("blurs", WORKER_CAPABILITIES="blur,resize")
        rig.start_worker("sharpens", WORKER_CAPABILITIES="sharpen")
        rig.wait_for_workers("blurs", "sharpens")
        client = rig.client()
        image = np.zeros((8, 8), np.uint8)
        blur, sharpen = parse_steps(["blur"], {}), parse_steps(["sharpen"], {})
        blurred = [client.submit(jobs.process_image, image, blur) for _ in range(20)]
        sharpened = [client.submit(jobs.process_image, image, sharpen) for _ in range(20)]
        nobody = client.submit(jobs.process_image, image, parse_steps(["edges"], {}), deadline_s=0.3)
        both = client.submit(jobs.process_image, image, blur + sharpen, deadline_s=0.3)
        results(blurred + sharpened)
        assert {future.worker for future in blurred} == {"blurs"}
        assert {future.worker for future in sharpened} == {"sharpens"}
        assert isinstance(nobody.exception(10), NoWorker) and "edges" in str(nobody.exception())
        assert isinstance(both.exception(10), NoWorker)
        rig.check_outcomes([*blurred, *sharpened, nobody, both])


def test_a_task_without_workers_fails_at_its_deadline(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        client = rig.client()
        waiting = client.submit(jobs.echo, 1, deadline_s=0.3)
        patient = client.submit(jobs.echo, 2)
        assert isinstance(waiting.exception(10), NoWorker)
        rig.start_worker("late")
        assert patient.result(15) == 2


def test_a_late_task_fails_at_its_deadline_and_its_result_drops(rig: Rig, tmp_path: Path) -> None:
    client = rig.client()
    gate = tmp_path / "gate"
    slow = client.submit("work:wait_for", str(gate), deadline_s=0.4)
    worker = busy_with(rig, slow)
    error = slow.exception(10)
    assert isinstance(error, DeadlineExceeded) and not error.definite and slow.task_id in str(error)
    gate.touch()
    rig.wait_for_event("duplicate", worker, slow.task_id)
    assert rig.workers[worker].poll() is None, "late is not hung"
    rig.check_outcomes([slow])


# --- a worker dies ------------------------------------------------------------------------------------------


@timing
def test_tasks_of_a_killed_worker_are_done_elsewhere_at_once(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=3) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        victim_task = client.submit("work:wait_for", str(gate))
        others = [client.submit(jobs.spin, 0.02) for _ in range(60)]
        victim = busy_with(rig, victim_task)
        client.note("kill", victim)
        rig.kill(rig.workers[victim])
        lost = rig.wait_for_event("lost", victim)
        gate.touch()
        pids = {process.pid for name, process in rig.workers.items() if name != victim}
        assert victim_task.result(20) in pids and victim_task.attempt == 2
        assert len(results(others)) == 60
        (fault,) = rig.events("fault")
        assert lost.detail["cause"] == "closed" and 0 <= lost.at - fault.at < 0.5
        rig.check_outcomes([victim_task, *others])
        again = [event for event in rig.events("dispatched", task=victim_task.task_id) if event.attempt == 2]
        assert again[0].at - lost.at < 0.5, "as soon as another worker had room"


def test_a_task_that_crashes_one_worker_is_done_by_the_next(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        future = rig.client().submit("work:crash_once", str(tmp_path / "once"))
        wait_until(lambda: rig.revive() or future.done(), 20, "the second attempt")
        assert future.attempt == 2 and future.exception() is None
        rig.check_outcomes([future])


# --- the broker dies ----------------------------------------------------------------------------------------


@timing
def test_workers_and_clients_are_back_within_three_seconds(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        assert client.submit(jobs.echo, 1).result(10) == 1
        rig.kill(rig.broker)
        rig.start_broker()
        future = client.submit(jobs.echo, 2)
        assert future.result(10) == 2
        joined = rig.wait_for_event("done", task=future.task_id)
        served = [event.at for event in rig.events("broker_started")][-1]
        assert joined.at - served < 3
        both = {"worker-1", "worker-2"}

        def back() -> dict[str, float]:
            """Return when each worker first joined the new broker (it may need a second hello)."""
            return {event.worker: event.at for event in rig.events("joined")[::-1] if event.at > served}

        wait_until(lambda: back().keys() >= both, 15, "both workers")
        assert max(back().values()) - served < 3


def test_a_stopped_broker_ends_with_zero_and_its_successor_serves_on(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        gate = tmp_path / "gate"
        future = client.submit("work:wait_for", str(gate))
        busy_with(rig, future)
        assert rig.broker is not None
        rig.broker.send_signal(signal.SIGTERM)
        assert rig.broker.wait(3) == 0
        rig.start_broker()
        gate.touch()
        assert future.result(20) == rig.workers["worker-1"].pid
        kinds = [event.kind for event in rig.history().events]
        assert kinds.count("broker_stopped") == 1 and kinds.count("broker_started") == 2


def test_a_second_broker_on_the_same_ports_exits_with_one_line(rig: Rig, tmp_path: Path) -> None:
    environment = {**rig.broker_environment(), "LABKIT_FOLDER": str(tmp_path)}
    second = rig.spawn("second", ["labkit", "broker"], environment)
    assert second.wait(15) == exit_codes.PORT_IN_USE
    (line,) = rig.log("second").splitlines()
    assert str(rig.ports["client"]) in line and "taken" in line
    assert rig.client().submit(jobs.echo, "still here").result(10) == "still here"


# --- more than it can take ----------------------------------------------------------------------------------


@timing
def test_a_client_beyond_its_quota_gets_busy_and_completes(tmp_path: Path) -> None:
    """This client ignores its quota, so the broker must enforce it."""
    with Rig(tmp_path / "rig", workers=1, max_client_tasks=50, busy_retry_s=0.02) as rig:
        client = rig.client()
        client._session._quota_tasks = client._session._window = 10_000
        futures = [client.submit(jobs.echo, number) for number in range(2000)]
        assert results(futures, 60) == list(range(2000))
        assert client._session.refusals > 0 and rig.counters()["refused_tasks"] > 0
        rig.check_outcomes(futures)


def test_bytes_count_towards_the_quota_too(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1, max_client_bytes=4 * MB, busy_retry_s=0.02) as rig:
        client = rig.client(max_client_bytes=1 << 30)
        client._session._quota_bytes = 1 << 30
        picture = np.ones(MB, np.uint8)
        futures = [client.submit(jobs.echo, picture) for _ in range(30)]
        wait_until(lambda: rig.status()["open_bytes"] <= 4 * MB, what="the bound")
        assert all(back.sum() == MB for back in results(futures, 60))
        rig.check_outcomes(futures)


def test_a_full_queue_is_shared_out_and_drains(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1, max_queued_tasks=100, busy_retry_s=0.02) as rig:
        clients = [rig.client(f"client {number}") for number in range(3)]
        futures = [client.submit(jobs.echo, number) for number in range(400) for client in clients]
        assert results(futures, 60) == [number for number in range(400) for _ in clients]
        rig.check_outcomes(futures)
