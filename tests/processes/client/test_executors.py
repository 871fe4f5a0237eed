"""The engine "cluster" keeps the contract too, on real processes; and what it promises beyond it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs, open_cluster
from labkit.client.client import ANSWER_TIMEOUT_S
from labkit.client.futures import TaskFuture
from labkit.cluster import Cluster, start_background
from labkit.core.errors import (
    BrokerUnreachable,
    CannotTravel,
    ClientGone,
    FilterError,
    JobRefused,
    TaskFailed,
)
from labkit.core.peers.task_errors import RemoteTraceback
from labkit.executors import ClusterExecutor, open_executor
from labkit.jobs import add, echo, fail, sleep_for
from labkit.support.settings import Settings
from tests.tools.executor_contract import Engine, ExecutorContract
from tests.tools.waiting import wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Cluster]:
    with open_cluster(1, redis=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Cluster]:
    with open_cluster(2, redis=False) as cluster:
        yield cluster


class TestCluster(ExecutorContract):
    by_name = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, one_worker: Cluster, two_workers: Cluster) -> Engine:
        clusters = {1: one_worker, 2: two_workers}
        return lambda workers: open_executor("cluster", cluster=clusters[workers])


@pytest.fixture
def executor(two_workers: Cluster) -> Iterator[ClusterExecutor]:
    with ClusterExecutor(two_workers.client()) as executor:
        yield executor


# --- what a future knows ------------------------------------------------------------------------------------


def test_a_future_knows_its_task_and_its_worker(executor: ClusterExecutor, two_workers: Cluster) -> None:
    future = executor.submit(echo, 1)
    assert isinstance(future, TaskFuture) and future.result(30) == 1
    assert future.worker in ("worker-1", "worker-2") and future.attempt == 1
    wait_until(lambda: two_workers.history().story(future.task_id)[-1:], what="its story")


def test_an_exception_names_task_worker_and_the_remote_traceback(executor: ClusterExecutor) -> None:
    future = executor.submit(fail, "the cup is empty")
    error = future.exception(30)
    assert isinstance(error, TaskFailed) and isinstance(error, RuntimeError)
    assert "labkit.jobs:fail failed on worker-" in str(error) and future.task_id in str(error)
    assert "raise RuntimeError(message)" in error.remote_traceback
    assert isinstance(error.__cause__, RemoteTraceback)
    assert repr(error) == f"TaskFailed[RuntimeError]({str(error)!r})", "what a notebook shows of it"


def test_an_object_that_the_codec_does_not_know_fails_at_submit(executor: ClusterExecutor) -> None:
    with pytest.raises(CannotTravel, match=r"args\[0\]\['photo'\]"):
        executor.submit(echo, {"photo": object()})
    with pytest.raises(CannotTravel, match=r"args\[0\]"):
        executor.map(echo, [1, 2, object()])


def test_a_chunk_runs_only_what_the_worker_allows(executor: ClusterExecutor) -> None:
    with pytest.raises(JobRefused, match="runs functions of labkit.jobs, work only"):
        list(executor.map(resolve_elsewhere, [1, 2], chunksize=2))
    with pytest.raises(JobRefused, match="does not offer it as a job"):
        list(executor.map(jobs._filters_in, [["blur"]], chunksize=2))


def resolve_elsewhere(number: int) -> int:
    return number


# --- the cluster stays --------------------------------------------------------------------------------------


def test_a_shutdown_leaves_the_cluster_as_it_is(two_workers: Cluster) -> None:
    before = _processes(two_workers)
    for _ in range(2):
        with open_executor("cluster", cluster=two_workers) as executor:
            assert executor.submit(add, 1, 2).result(30) == 3
    two_workers.wait_until_ready()
    assert _processes(two_workers) == before


def _processes(cluster: Cluster) -> list[tuple[str, str, int | None]]:
    """Return name, state and pid of each worker: what a starved worker keeps while the broker misses it."""
    return [(worker.name, worker.process, worker.pid) for worker in cluster.workers()]


def test_without_a_handle_it_finds_the_cluster_in_the_background(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    cluster = start_background(1, redis=False, settings=settings)
    try:
        with open_executor("cluster", settings=settings) as executor:
            assert executor.submit(add, 1, 2).result(30) == 3
        assert [worker.status for worker in cluster.workers()] == ["ready"]
    finally:
        cluster.down()


# --- losses and races ---------------------------------------------------------------------------------------


def test_a_map_outlives_the_loss_of_a_worker() -> None:
    with open_cluster(2, redis=False) as cluster, open_executor("cluster", cluster=cluster) as executor:
        results = executor.map(sleep_for, [0.02] * 60)
        first = next(results)
        cluster.kill("worker-2")
        assert [first, *results] == [0.02] * 60


def test_submit_while_another_thread_closes_gets_an_answer(two_workers: Cluster) -> None:
    for _ in range(10):
        client = two_workers.client()
        futures: list[Future[Any]] = []
        refused = threading.Event()

        def submit_until_refused(
            client: Any = client, futures: list[Future[Any]] = futures, refused: Any = refused
        ) -> None:
            try:
                while True:
                    futures.append(client.submit(echo, 1))
            except BrokerUnreachable:
                refused.set()

        thread = threading.Thread(target=submit_until_refused)
        thread.start()
        wait_until(lambda futures=futures: len(futures) > 20, what="some futures")  # type: ignore[misc]
        client.close()
        thread.join(10)
        assert refused.is_set()
        assert not wait(futures, timeout=10).not_done, "a future that is never resolved"
        errors = {type(future.exception()) for future in futures}
        assert errors <= {type(None), ClientGone}


def test_close_during_a_cancellation_is_no_error(two_workers: Cluster) -> None:
    client = two_workers.client()
    futures = [client.submit(sleep_for, 0.05) for _ in range(20)]
    closing = threading.Thread(target=client.close, args=(True,))
    closing.start()
    client.cancel_many(futures)
    closing.join(10)
    assert not closing.is_alive() and all(future.done() for future in futures)
    late = TaskFuture(client, futures[0].task)
    began = time.monotonic()
    assert not late.cancel()
    assert time.monotonic() - began < ANSWER_TIMEOUT_S, "a closed client has no one to wait for"


def test_slow_callback_delays_no_other_task(executor: ClusterExecutor) -> None:
    began = threading.Event()
    go_on = threading.Event()

    def take_your_time(_: Future[Any]) -> None:
        began.set()
        go_on.wait(10)

    future = executor.submit(sleep_for, 0.1)
    future.add_done_callback(take_your_time)
    assert began.wait(10)
    try:
        assert executor.submit(echo, "others go on").result(5) == "others go on"
    finally:
        go_on.set()


def test_a_callback_may_cancel_the_others(one_worker: Cluster) -> None:
    with open_executor("cluster", cluster=one_worker) as executor:
        first, *others = [executor.submit(sleep_for, 0.1) for _ in range(20)]
        first.add_done_callback(lambda _: [future.cancel() for future in others])
        assert {*as_completed([first, *others], timeout=60)} == {first, *others}
        assert others[-1].cancelled()


# --- the end of the program ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "executor.shutdown(wait=False)"])
def test_a_program_ends_when_its_results_are_there(tmp_path: Path, end: str) -> None:
    settings = Settings(home=tmp_path)
    cluster = start_background(1, redis=False, settings=settings)
    program = f"""
        from labkit import jobs, open_executor

        executor = open_executor("cluster")
        for _ in range(3):
            executor.submit(jobs.sleep_for, 0.1).add_done_callback(lambda f: print(f.result(), flush=True))
        {end}
    """
    try:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            cwd=ROOT,
            env={**os.environ, "LABKIT_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        cluster.down()
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["0.1"] * 3, "")


def test_dropped_executor_leaves_when_its_results_are_there(two_workers: Cluster) -> None:
    def clients() -> int:
        return sum(thread.name == "labkit-client" for thread in threading.enumerate())

    before = clients()
    future = open_executor("cluster", cluster=two_workers).submit(sleep_for, 0.2)
    results = open_executor("cluster", cluster=two_workers).map(echo, range(5))
    abandoned = open_executor("cluster", cluster=two_workers).map(sleep_for, [0.2] * 5)
    assert future.result(20) == 0.2 and list(results) == [*range(5)] and next(abandoned) == 0.2
    del abandoned
    wait_until(lambda: clients() == before, what="the threads of all three to end")


# --- chunks -------------------------------------------------------------------------------------------------


def test_an_error_in_a_chunk_names_the_users_function_and_the_input(executor: ClusterExecutor) -> None:
    texts = ["2024", "2025", "2026", "2027", "2028", "soon", "2029"]
    with pytest.raises(TypeError) as failed:
        list(executor.map(add, [*range(5), "five", 6], range(7), chunksize=4))
    error = failed.value
    assert isinstance(error, TaskFailed)
    assert "labkit.jobs:add failed at input 5 on worker-" in str(error)
    assert "run_each" not in str(error) + error.remote_traceback
    with pytest.raises(RuntimeError, match=r"labkit\.jobs:fail failed at input 0 on .*RuntimeError: 2024"):
        list(executor.map(fail, texts, chunksize=3))


@pytest.mark.parametrize("chunksize", [1, 2, 4])
def test_an_input_that_cannot_travel_is_named_by_its_index(executor: ClusterExecutor, chunksize: int) -> None:
    with pytest.raises(CannotTravel) as refusal:
        executor.map(echo, [1, 2, 3, 4, 5, {"photo": object()}, 7], chunksize=chunksize)
    said = str(refusal.value)
    assert said.startswith("input 5 of labkit.jobs:echo: args[0]['photo'] is of type object")
    assert "run_each" not in said
    with pytest.raises(CannotTravel, match=r"^input 2 of labkit\.jobs:add: args\[1\] is of type complex"):
        executor.map(add, range(9), [1, 2, 3j], chunksize=chunksize)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_steps_that_do_not_fit_name_the_input(executor: ClusterExecutor, chunksize: int) -> None:
    inputs: list[Any] = [[("blur", {})], [("blur", {})], [("nope", {})]]
    with pytest.raises(FilterError, match="'nope' is unknown") as refusal:
        executor.map(jobs.process_image, [None] * 3, inputs, chunksize=chunksize)
    assert refusal.value.__notes__ == ["(at input 2 of labkit.jobs:process_image)"]


@pytest.mark.parametrize("levels", [62, 63, 64])
def test_a_chunk_takes_what_a_single_call_takes(executor: ClusterExecutor, levels: int) -> None:
    value: object = 1
    for _ in range(levels):
        value = [value]
    assert executor.submit(echo, value).result(30) == value
    assert list(executor.map(echo, [value, value, 2], chunksize=2)) == [value, value, 2]
    with pytest.raises(CannotTravel, match="64 levels"):
        executor.submit(echo, [[[value]]])
    with pytest.raises(CannotTravel, match="input 0 of .*64 levels"):
        executor.map(echo, [[[[value]]]], chunksize=2)


def test_ctrl_c_ends_idle_processes_of_a_pool_without_a_traceback() -> None:
    code = (
        "import os, signal\n"
        "from labkit import open_executor\n"
        "from labkit.classroom.memory import remember\n"
        "if __name__ == '__main__':\n"
        "    pool = open_executor('processes', 2)\n"
        "    while len(set(pool.map(remember, range(8)))) < 2:\n"
        "        pass\n"
        "    processes = list(pool._processes.values())\n"
        "    for process in processes:\n"
        "        os.kill(process.pid, signal.SIGINT)\n"
        "    for process in processes:\n"
        "        process.join()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code, encoding="utf-8")
        ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("end", "busy"), [("SIGKILL", False), ("SIGTERM", True), ("SIGHUP", False)])
def test_a_pool_ends_with_its_program_however_that_ends(tmp_path: Path, end: str, busy: bool) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, time
            from labkit.executors import open_executor
            if __name__ == "__main__":
                pool = open_executor("processes", workers=1)
                print(pool.submit(os.getpid).result(), flush=True)
                if {busy}:
                    pool.submit(time.sleep, 600)
                time.sleep(600)
            """
        )
    )
    program = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pool_process = int(program.stdout.readline())
    program.send_signal(getattr(signal, end))
    try:
        # The pipe's end comes once no process has it any more.
        assert program.communicate(timeout=30)[0] == ""
        assert program.returncode == -getattr(signal, end)
    except subprocess.TimeoutExpired:
        os.kill(pool_process, signal.SIGKILL)
        pytest.fail(f"the pool's process {pool_process} outlived its program")
