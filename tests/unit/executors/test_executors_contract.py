"""The engines that need no cluster keep the contract (the cluster:
tests/processes/client/test_executors.py)."""

from __future__ import annotations

import operator
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from labkit.calls import serialization
from labkit.client.futures import Batch
from labkit.core.errors import CannotTravel, ClusterNotRunning, InvalidInput, TaskFailed
from labkit.core.peers.client_events import Call
from labkit.core.protocol import messages as m
from labkit.executors import ENGINES, ClusterExecutor, ProcessExecutor, SequentialExecutor, open_executor
from labkit.jobs import add, echo, fail
from labkit.support.settings import Settings
from tests.tools import odd_classes
from tests.tools.executor_contract import Engine, ExecutorContract


class TestSequential(ExecutorContract):
    queues = False

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return lambda workers: open_executor("sequential")

    def test_it_runs_at_submit_in_the_caller(self, executor: Executor) -> None:
        future = executor.submit(threading.get_ident)
        assert future.done() and future.result() == threading.get_ident()

    def test_ctrl_c_reaches_the_caller(self, executor: Executor) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            executor.submit(interrupted)

    def test_an_exit_is_the_tasks_own(self, executor: Executor) -> None:
        assert isinstance(executor.submit(exit, 3).exception(), SystemExit)

    def test_map_runs_nothing_after_a_failure(self, executor: Executor) -> None:
        seen: list[int] = []

        def note(n: int) -> int:
            seen.append(n)
            return 1 // n

        with pytest.raises(ZeroDivisionError):
            list(executor.map(note, [2, 1, 0, 3]))
        assert seen == [2, 1, 0]

    def test_a_chunk_has_at_least_one(self, executor: Executor) -> None:
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(echo, [1], chunksize=0)


class TestThreads(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return lambda workers: open_executor("threads", workers)


class TestProcesses(ExecutorContract):
    by_name = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return lambda workers: open_executor("processes", workers)

    def test_function_of_python_needs_no_module_of_ours(self, executor: Executor) -> None:
        assert executor.submit(operator.add, 1, 2).result(30) == 3
        assert executor.submit(pow, 2, 3).result(30) == 8

    def test_a_function_inside_a_function_fails_at_submit(self, executor: Executor) -> None:
        def here() -> int:
            return 1

        with pytest.raises(CannotTravel, match="top level"):
            executor.submit(here)

    def test_it_spawns(self, executor: Executor) -> None:
        context = vars(executor)["_mp_context"]
        assert isinstance(executor, ProcessExecutor) and context.get_start_method() == "spawn"

    @pytest.mark.parametrize(
        ("job", "said"),
        [
            (odd_classes.needs_code, "NeedsCode: no coins"),
            (odd_classes.turns, "Turns: no more"),
            (odd_classes.odd_syntax, "SyntaxError: bad"),
            (odd_classes.result_exits, "SystemExit: 3"),
            (odd_classes.lambda_inside, "lambda"),
        ],
    )
    def test_an_outcome_that_cannot_be_unpickled_fails_its_own_task_only(
        self, executor: Executor, job: Callable[[], Any], said: str
    ) -> None:
        error = executor.submit(job).exception(30)
        text = "".join(traceback.format_exception(error))
        assert said in text
        assert executor.submit(echo, "on").result(30) == "on"

    def test_an_argument_that_cannot_be_unpickled_fails_its_own_task_only(self, executor: Executor) -> None:
        assert isinstance(executor.submit(odd_classes.size_of, odd_classes.Exits()).exception(30), SystemExit)
        assert executor.submit(odd_classes.size_of, {"x": [1, 2.0]}).result(30) == 1
        error = executor.submit(echo, threading.Lock()).exception(30)
        assert isinstance(error, TypeError) and "lock" in str(error)
        assert executor.submit(echo, value="on").result(30) == "on"

    def test_a_failure_without_its_class_is_a_task_failed_with_the_traceback(
        self, executor: Executor
    ) -> None:
        error = executor.submit(odd_classes.needs_code).exception(30)
        assert isinstance(error, TaskFailed) and "raise NeedsCode" in error.remote_traceback
        assert str(error) == "needs_code failed: NeedsCode: no coins"


# --- opening ------------------------------------------------------------------------------------------------


def test_unknown_engine_error_lists_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match=r"'turbo' is unknown; known: sequential, threads, processes, clus"
    ):
        open_executor("turbo")
    assert ENGINES == ("sequential", "threads", "processes", "cluster")


@pytest.mark.parametrize(
    ("engine", "workers", "said"),
    [
        ("sequential", 2, "one worker, the caller"),
        ("threads", 0, "1 to 1024"),
        ("processes", 62, "1 to 61"),
        ("cluster", 3, "labkit scale 3"),
    ],
)
def test_impossible_number_of_workers_names_the_reason(engine: str, workers: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        open_executor(engine, workers)


def test_without_a_cluster_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ClusterNotRunning, match="labkit up"):
        open_executor("cluster", settings=Settings(home=tmp_path))


def test_the_sequential_engine_takes_one_worker() -> None:
    assert isinstance(open_executor("sequential", 1), SequentialExecutor)


# --- the cluster's executor without a cluster ---------------------------------------------------------------


class SmallClient:
    """Stands in for a client: its messages hold two calls at most, and it answers at once."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.cancelled: list[bytes] = []

    def prepare(self, function: Any, args: Any, kwargs: Any) -> Call:
        if function is add:
            raise AssertionError("it is to travel in a chunk")
        _, calls = args
        if len(calls) > 2 or "a giant" in calls[0]:
            raise CannotTravel("too large")
        return Call(os.urandom(16), 0.0, 0.0, "", "", m.Payload(b"", tuple(calls)), 0)

    def submit_for(self, batch: Batch, calls: list[Call]) -> None:
        self.sent.append([call.payload.frames for call in calls])
        for call in calls:
            answer = serialization.encode_value([sum(args) for args in call.payload.frames])
            batch.take(call.task, m.Result(call.task, 1, 0.0, "worker-1", answer))

    def forget(self, batch: Batch, tasks: list[bytes]) -> None:
        self.cancelled += tasks

    def close(self, wait: bool = False) -> None:
        pass

    def close_when_done(self) -> None:
        pass


def test_a_chunk_too_large_for_a_message_is_sent_in_parts() -> None:
    client: Any = SmallClient()
    executor = ClusterExecutor(client)
    assert list(executor.map(add, range(7), range(7), chunksize=7)) == [0, 2, 4, 6, 8, 10, 12]
    assert [len(calls) for calls in client.sent[0]] == [1, 2, 2, 2]


def test_input_that_cannot_travel_cancels_earlier_inputs() -> None:
    client: Any = SmallClient()
    executor = ClusterExecutor(client)

    def inputs() -> Any:
        yield from range(600)
        yield "a giant"

    with pytest.raises(CannotTravel, match="too large"):
        executor.map(fail, inputs(), chunksize=2)
    assert client.cancelled and len(client.cancelled) == sum(len(block) for block in client.sent)
