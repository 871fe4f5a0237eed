"""What every engine promises, as one class of tests; each engine's own test module inherits it.

A subclass has a fixture ``engine`` that returns a function ``workers -> Executor``. Most tests share one
executor, which must be fit for use after each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    as_completed,
    wait,
)
from typing import Any, cast

import numpy as np
import pytest

from labkit.batch import process_batch
from labkit.core.errors import CannotTravel
from labkit.imaging.photos import bundled
from labkit.jobs import add, echo, fail, process_image, sleep_for
from tests.tools.waiting import wait_until

Engine = Callable[[int], Executor]

FILTERS = ["sharpen", "edges"]
PARAMS = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}


class ExecutorContract:
    """`concurrent.futures.Executor`, as its documentation has it."""

    queues = True
    """Whether a call may have to wait for a worker."""
    by_name = False
    """Whether functions travel by name."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, engine: Engine) -> Iterator[Executor]:
        with engine(2) as executor:
            yield executor

    # --- submit ---------------------------------------------------------------------------------------------

    def test_submit_returns_a_future_of_the_result(self, executor: Executor) -> None:
        future = executor.submit(add, 1, b=2)
        assert isinstance(future, Future)
        assert future.result(30) == 3
        assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
        assert future.exception() is None

    def test_arguments_named_like_the_executors_reach_the_function(self, executor: Executor) -> None:
        with pytest.raises(TypeError, match="timeout"):
            executor.submit(cast(Callable[..., Any], echo), 1, timeout=2).result(30)

    def test_exception_keeps_its_class_and_the_remote_traceback(self, executor: Executor) -> None:
        future = executor.submit(fail, "the cup is empty")
        with pytest.raises(RuntimeError, match="the cup is empty") as caught:
            future.result(30)
        assert future.exception() is caught.value
        shown = "".join(traceback.format_exception(caught.value))
        assert "jobs.py" in shown and "in fail" in shown and "raise RuntimeError(message)" in shown

    def test_after_an_exception_the_engine_goes_on(self, executor: Executor) -> None:
        failed = [executor.submit(fail) for _ in range(3)]
        assert executor.submit(echo, "on").result(30) == "on"
        assert all(isinstance(future.exception(30), RuntimeError) for future in failed)

    def test_several_threads_submit_at_once(self, executor: Executor) -> None:
        sums: list[int] = []

        def submit_some(base: int) -> None:
            sums.extend([executor.submit(add, base, n).result(30) for n in range(20)])

        threads = [threading.Thread(target=submit_some, args=(base,)) for base in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(sums) == [base + n for base in (0, 100, 200) for n in range(20)]

    def test_a_function_without_a_name_fails_at_submit_where_names_travel(self, executor: Executor) -> None:
        if not self.by_name:
            assert executor.submit(lambda: 1).result(30) == 1
            return
        with pytest.raises(CannotTravel, match="lambda"):
            executor.submit(lambda: 1)
        with pytest.raises(TypeError, match="lambda"):
            executor.map(lambda x: x, [1, 2])
        with pytest.raises(CannotTravel, match="lambda"):
            executor.map(lambda x: x, [1, 2], chunksize=2)
        assert executor.submit(echo, "on").result(30) == "on"

    # --- map ------------------------------------------------------------------------------------------------

    def test_map_keeps_the_order_of_its_input(self, executor: Executor) -> None:
        delays = [0.2, 0.0, 0.1, 0.0]
        assert list(executor.map(sleep_for, delays)) == delays

    def test_map_takes_several_inputs_and_stops_at_the_shortest(self, executor: Executor) -> None:
        assert list(executor.map(add, [1, 2, 3], iter([10, 20]))) == [11, 22]
        assert list(executor.map(echo, [])) == []

    @pytest.mark.parametrize("chunksize", [1, 2, 3, 100])
    def test_map_in_chunks_gives_the_same(self, executor: Executor, chunksize: int) -> None:
        found = executor.map(add, range(7), range(7), timeout=30, chunksize=chunksize)
        assert list(found) == [0, 2, 4, 6, 8, 10, 12]

    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_map_raises_the_exception_in_its_place(self, executor: Executor, chunksize: int) -> None:
        results = executor.map(add, [1, 2, "three", 4], [1, 1, 1, 1], chunksize=chunksize)
        assert [next(results), next(results)] == [2, 3]
        with pytest.raises(TypeError):
            next(results)
        assert list(results) == []

    def test_map_starts_before_its_results_are_read(self, executor: Executor) -> None:
        results = executor.map(sleep_for, [0.0, 0.0])
        assert executor.submit(echo, 1).result(30) == 1
        assert list(results) == [0.0, 0.0]

    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_map_raises_timeout_error_when_its_time_is_up(self, executor: Executor, chunksize: int) -> None:
        executor.submit(echo, 0).result(30)  # warm
        results = executor.map(sleep_for, [0.0, 0.0, 2.5], timeout=1.2, chunksize=chunksize)
        assert [next(results), next(results)] == [0.0, 0.0]
        with pytest.raises(TimeoutError):
            next(results)

    def test_map_within_its_time_raises_nothing(self, executor: Executor) -> None:
        assert list(executor.map(echo, range(5), timeout=30)) == [0, 1, 2, 3, 4]

    def test_a_long_map_is_complete(self, executor: Executor) -> None:
        assert sum(executor.map(add, range(1000), range(1000))) == 999_000

    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_map_with_a_buffersize_takes_only_so_many_inputs(self, engine: Engine, chunksize: int) -> None:
        with engine(2) as executor:
            inputs = itertools.count()
            size = chunksize if self.by_name else 1  # where calls do not travel, they are not bundled
            results = executor.map(echo, inputs, chunksize=chunksize, buffersize=3)  # type: ignore[call-arg]
            assert next(inputs) == 3 * size, "and that one is lost, because we have taken it"
            # Each task whose results are taken lets one more be submitted.
            assert [next(results) for _ in range(size)] == [*range(size)]
            assert next(inputs) == 4 * size + 1
            del results

    @pytest.mark.parametrize("chunksize", [1, 3])
    @pytest.mark.parametrize("buffersize", [1, 2, 7, 100])
    def test_map_with_a_buffersize_gives_the_same(
        self, executor: Executor, buffersize: int, chunksize: int
    ) -> None:
        found = executor.map(
            add,
            range(20),
            range(20),
            timeout=30,
            chunksize=chunksize,
            buffersize=buffersize,  # type: ignore[call-arg]
        )
        assert list(found) == [*range(0, 40, 2)]
        assert list(executor.map(echo, [], buffersize=buffersize)) == []  # type: ignore[call-arg]
        assert list(executor.map(echo, buffersize=buffersize)) == []  # type: ignore[call-arg]

    @pytest.mark.parametrize("buffersize", ["2", 2.0, 0, -1])
    def test_an_invalid_buffersize_is_an_error_at_once(self, executor: Executor, buffersize: Any) -> None:
        kind = ValueError if isinstance(buffersize, int) else TypeError
        with pytest.raises(kind, match="buffersize must be"):
            executor.map(echo, [1], buffersize=buffersize)  # type: ignore[call-arg]

    def test_map_with_a_buffersize_raises_in_its_place(self, executor: Executor) -> None:
        results = executor.map(add, [1, 2, "three", 4, 5], [1] * 5, buffersize=2)  # type: ignore[call-arg]
        assert [next(results), next(results)] == [2, 3]
        with pytest.raises(TypeError):
            next(results)
        assert list(results) == []

        def inputs() -> Iterator[int]:
            yield from range(3)
            raise KeyError("an input's own bug")

        results = executor.map(echo, inputs(), buffersize=2)  # type: ignore[call-arg]
        assert [next(results)] == [0]
        with pytest.raises(KeyError):
            list(results)
        assert executor.submit(echo, "on").result(30) == "on"

    def test_map_with_a_buffersize_submits_nothing_after_the_shutdown(self, engine: Engine) -> None:
        with engine(2) as executor:
            results = executor.map(echo, itertools.count(), buffersize=2)  # type: ignore[call-arg]
            assert next(results) == 0
        with pytest.raises(RuntimeError, match="after shutdown"):
            [next(results) for _ in range(10)]

    # --- cancel ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("read", [0, 1])
    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_a_map_whose_iterator_is_dropped_cancels_the_rest(
        self, engine: Engine, read: int, chunksize: int
    ) -> None:
        if not self.queues:
            return
        with engine(1) as executor:
            executor.submit(echo, 0).result(30)  # warm
            began = time.monotonic()
            results = executor.map(sleep_for, [0.1] * 100, chunksize=chunksize)
            for _ in range(read):
                next(results)
            del results
            assert executor.submit(echo, "on").result(30) == "on"
        assert time.monotonic() - began < 6, "100 of them would have taken 10 s"

    def test_a_coroutine_that_gives_up_never_waits_for_the_engine(self, engine: Engine) -> None:
        if not self.queues:
            return

        async def give_up(executor: Executor) -> float:
            loop = asyncio.get_running_loop()
            first = asyncio.ensure_future(loop.run_in_executor(executor, sleep_for, 0.5))
            waiting = [loop.run_in_executor(executor, sleep_for, 0.0) for _ in range(5)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await waiting[0]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting[1], 0.05)
            for future in waiting[2:]:
                future.cancel()
            return await first

        with engine(1) as executor:
            executor.submit(echo, 0).result(30)  # warm
            assert asyncio.run(give_up(executor)) == 0.5

    @pytest.mark.parametrize("way", ["result", "exception"])
    def test_a_failed_future_and_its_exception_form_no_cycle(self, executor: Executor, way: str) -> None:
        gc.collect()
        gc.disable()
        try:
            future = self.failed(executor, way)
            wait_until(lambda: future() is None, 5, "the future to be freed")
        finally:
            gc.enable()

    def failed(self, executor: Executor, way: str) -> weakref.ref[Future[Any]]:
        """Return a reference to a future that has failed and is used no more."""
        future: Future[Any] = executor.submit(fail)
        try:
            if way == "exception":
                assert future.exception(30) is not None
            else:
                with contextlib.suppress(RuntimeError):
                    future.result(30)
            return weakref.ref(future)
        finally:
            del future  # a traceback refers to this frame

    def test_task_that_waits_for_a_worker_can_be_cancelled(self, engine: Engine) -> None:
        with engine(1) as executor:
            futures = self.one_running_and_ten_behind(executor)
            if not self.queues:
                assert not any(future.cancel() for future in futures)
                return
            last = futures[-1]
            assert last.cancel() and last.cancelled() and last.done()
            assert last.cancel(), "cancelling twice is no harm"
            with pytest.raises(CancelledError):
                last.result(30)
            assert not futures[0].cancel() and not futures[0].cancelled(), "it was running"
            assert futures[0].result(30) == 0.5
            assert not futures[0].cancel(), "it was done"
            assert [future.result(30) for future in futures[1:-1]] == [0.0] * 9

    def test_cancellation_wakes_threads_that_wait(self, engine: Engine) -> None:
        with engine(1) as executor:
            futures = self.one_running_and_ten_behind(executor)
            received: list[Future[Any]] = []
            futures[-1].add_done_callback(received.append)
            cancelled = futures[-1].cancel()
            assert cancelled == self.queues
            wait_until(lambda: received == [futures[-1]], what="the callback")
            assert set(as_completed(futures, timeout=30)) == set(futures)

    def test_map_that_ends_early_cancels_waiting_tasks(self, engine: Engine) -> None:
        if not self.queues:
            return
        with engine(1) as executor:
            executor.submit(echo, 0).result(30)  # warm
            began = time.monotonic()
            results = executor.map(sleep_for, [0.3] * 40, timeout=0.1)
            with pytest.raises(TimeoutError):
                next(results)
        assert time.monotonic() - began < 6, "40 of them would have taken 12 s"

    def one_running_and_ten_behind(self, executor: Executor) -> list[Future[Any]]:
        executor.submit(echo, 0).result(30)  # warm
        first = executor.submit(sleep_for, 0.5)
        if self.queues:
            wait_until(first.running, what="the first to run")
        return [first, *[executor.submit(sleep_for, 0.0) for _ in range(10)]]

    # --- waiting for several --------------------------------------------------------------------------------

    def test_wait_and_as_completed_work(self, executor: Executor) -> None:
        slow, quick = executor.submit(sleep_for, 0.3), executor.submit(sleep_for, 0.0)
        done, _ = wait([slow, quick], timeout=30, return_when=FIRST_COMPLETED)
        assert quick in done or slow in done
        assert wait([slow, quick], timeout=30).not_done == set()
        futures = [executor.submit(add, n, n) for n in range(10)]
        assert sorted(future.result() for future in as_completed(futures, timeout=30)) == list(
            range(0, 20, 2)
        )

    def test_wait_returns_at_the_first_exception(self, executor: Executor) -> None:
        failed: Future[Any] = executor.submit(fail)
        both: list[Future[Any]] = [failed, executor.submit(sleep_for, 0.2)]
        done, _ = wait(both, timeout=30, return_when=FIRST_EXCEPTION)
        assert failed in done

    def test_a_callback_is_called_once_and_may_fail(self, executor: Executor) -> None:
        received: list[float] = []

        def object_to(_: Future[Any]) -> None:
            raise ValueError("a callback's own bug")

        future = executor.submit(sleep_for, 0.1)
        future.add_done_callback(object_to)
        future.add_done_callback(lambda future: received.append(future.result()))
        wait_until(lambda: received == [0.1], what="the callback")
        future.add_done_callback(lambda future: received.append(2))  # done already: at once
        assert received == [0.1, 2]
        assert executor.submit(echo, "on").result(30) == "on"

    def test_a_callback_may_even_exit(self, engine: Engine) -> None:
        with engine(1) as executor:
            executor.submit(echo, 0).result(30)  # warm
            called: list[str] = []
            for _ in range(3):
                future = executor.submit(sleep_for, 0.05)
                if not future.done():  # else it would be called here, and exit this thread
                    future.add_done_callback(lambda _: sys.exit("the user's own"))
                future.add_done_callback(lambda _: called.append("the next one"))
            wait_until(lambda: len(called) == 3, what="the other callbacks")
            assert executor.submit(echo, "on").result(30) == "on"

    @pytest.mark.parametrize("theirs", ["result", "exception"])
    def test_a_future_that_its_user_resolves_harms_no_other(self, engine: Engine, theirs: str) -> None:
        if not self.queues:
            return
        with engine(1) as executor:
            first, *others = self.one_running_and_ten_behind(executor)
            for future in (first, others[0]):
                if theirs == "result":
                    future.set_result("theirs")
                else:
                    future.set_exception(KeyError("theirs"))
            assert [future.result(30) for future in others[1:]] == [0.0] * 9
            assert not first.cancel() and not first.cancelled()
            assert executor.submit(echo, "on").result(30) == "on"
            if theirs == "result":
                assert first.result(0) == others[0].result(0) == "theirs"
            else:
                assert isinstance(first.exception(0), KeyError)

    def test_a_callback_may_submit(self, executor: Executor) -> None:
        again: list[Future[Any]] = []
        executor.submit(sleep_for, 0.05).add_done_callback(
            lambda future: again.append(executor.submit(add, future.result(), 1))
        )
        wait_until(lambda: again, what="the callback")
        assert again[0].result(30) == 1.05

    def test_a_coroutine_can_await_it(self, executor: Executor) -> None:
        async def both() -> list[int]:
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*[loop.run_in_executor(executor, add, n, n) for n in (1, 2)])

        assert asyncio.run(both()) == [2, 4]

    # --- shutdown -------------------------------------------------------------------------------------------

    def test_after_shutdown_nothing_is_accepted(self, engine: Engine) -> None:
        executor = engine(1)
        future = executor.submit(sleep_for, 0.1)
        executor.shutdown()
        assert future.done() and future.result() == 0.1
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(echo, 1)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.map(echo, [1])
        executor.shutdown()  # twice is no harm

    def test_a_context_manager_waits(self, engine: Engine) -> None:
        with engine(2) as executor:
            futures = [executor.submit(sleep_for, 0.1) for _ in range(4)]
        assert all(future.done() for future in futures)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(echo, 1)

    def test_a_shutdown_without_waiting_loses_nothing(self, engine: Engine) -> None:
        executor = engine(1)
        executor.submit(echo, 0).result(30)  # warm
        futures = [executor.submit(sleep_for, 0.4) for _ in range(4)]
        executor.shutdown(wait=False)
        assert not self.queues or not futures[-1].done(), "it did not wait for them"
        with pytest.raises(RuntimeError):
            executor.submit(echo, 1)
        assert [future.result(30) for future in futures] == [0.4] * 4
        executor.shutdown()

    def test_shutdown_may_cancel_waiting_tasks(self, engine: Engine) -> None:
        executor = engine(1)
        futures = self.one_running_and_ten_behind(executor)
        executor.shutdown(cancel_futures=True)
        assert all(future.done() for future in futures)
        assert futures[0].result() == 0.5
        assert futures[-1].cancelled() == self.queues

    def test_shutdown_may_cancel_the_rest_of_a_map(self, engine: Engine) -> None:
        if not self.queues:
            return
        executor = engine(1)
        executor.submit(echo, 0).result(30)  # warm
        results = executor.map(sleep_for, [0.3] * 20)
        began = time.monotonic()
        executor.shutdown(cancel_futures=True)
        assert time.monotonic() - began < 3, "20 of them would have taken 6 s"
        with pytest.raises(CancelledError):
            list(results)

    def test_results_of_a_map_can_be_read_after_the_shutdown(self, engine: Engine) -> None:
        with engine(2) as executor:
            results = executor.map(add, range(5), range(5))
        assert list(results) == [0, 2, 4, 6, 8]

    # --- the main job ---------------------------------------------------------------------------------------

    def test_a_batch_of_photos_has_the_pixels_of_the_plain_loop(self, executor: Executor) -> None:
        photos = [photo.array() for photo in bundled() if photo.name in ("chelsea", "camera", "coffee")]
        steps = [("sharpen", {"intensity": 3.0}), ("edges", {"threshold1": 50.0, "threshold2": 150.0})]
        expected = [process_image(photo, steps) for photo in photos]
        for chunksize in (1, 2):
            found = process_batch(executor, photos, FILTERS, PARAMS, timeout=60, chunksize=chunksize)
            assert all(np.array_equal(f, e) for f, e in zip(found, expected, strict=True))
