"""One interface for the four days: every engine is a ``concurrent.futures.Executor``.

========== =================================== ============================================================
engine     where a call runs                   what a call may be
========== =================================== ============================================================
sequential in the caller, at once              anything
threads    in threads of this process          anything
processes  in processes of this machine        a function of a module, arguments that pickle knows
cluster    on the workers of a labkit cluster  a function of a module that the workers allow
                                               (`labkit.jobs`), arguments that can be serialized
========== =================================== ============================================================

All engines keep the rules of `concurrent.futures.Executor`: ``map`` gives results in the order of its input
(sending at most ``buffersize`` calls ahead, as in Python 3.14) and raises TimeoutError when its time is up, a
call that has not started can be cancelled, an exception comes out of the future with the traceback of the
place where it was raised, and ``submit`` after ``shutdown`` raises RuntimeError. A call that cannot be sent
by name fails where it is submitted, with `CannotTravel`, which explains what to do. ``cancel`` never waits,
and an iterator of ``map`` that is dropped cancels what it has not delivered.

An exception on the cluster arrives as a `TaskFailed`, which names task, worker and attempt. It is also an
instance of the original class, if that is Python's or labkit's (see `labkit.core.peers.task_errors`).

``shutdown`` of an executor never stops a cluster.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import multiprocessing
import os
import signal
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from labkit import jobs
from labkit.calls import pickled, registry
from labkit.calls.chunks import Chunk
from labkit.client.pool_future import PoolFuture
from labkit.core.errors import N_, CannotTravel, InvalidInput
from labkit.support import parent_watch
from labkit.support.call_results import CallResults, chained, checked_buffersize, map_futures

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import Batch, TaskFuture
    from labkit.cluster import Cluster
    from labkit.core.peers.client_events import Call
    from labkit.support.settings import Settings

ENGINES = ("sequential", "threads", "processes", "cluster")

SEND_AT_CALLS = 256
SEND_AFTER_S = 0.005
"""``map`` on a cluster sends what it has prepared after this many calls or seconds, whichever comes first:
many calls share a wake-up, and an input that is slow to come does not keep the workers waiting."""


def open_executor(
    engine: str,
    workers: int | None = None,
    *,
    cluster: Cluster | None = None,
    settings: Settings | None = None,
) -> Executor:
    """Return an executor; ``engine`` is "sequential", "threads", "processes" or "cluster". Use ``with``.

    ``workers`` is the number of threads or processes (default: one per core). The engine "cluster" uses
    ``cluster``, which has its own workers, or else the cluster that ``python -m labkit up`` started;
    ``settings`` (default: from the environment) name that one.

    Raises InvalidInput for an unknown engine or a number of workers that the engine cannot have, and
    ClusterNotRunning, which explains what to do, if there is no cluster.
    """
    if engine not in ENGINES:
        raise InvalidInput(
            N_("the engine {engine!r} is unknown; known: {known}"), engine=engine, known=", ".join(ENGINES)
        )
    if cluster is not None and engine != "cluster":
        raise InvalidInput(N_("the engine {engine!r} does not run on a cluster"), engine=engine)
    if workers is not None and not 1 <= workers <= _MOST_WORKERS.get(engine, 0):
        raise InvalidInput(
            _NOT_SO_MANY[engine], engine=engine, workers=workers, most=_MOST_WORKERS.get(engine)
        )
    workers = workers or os.cpu_count() or 1
    if engine == "sequential":
        return SequentialExecutor()
    if engine == "threads":
        return ThreadExecutor(workers, thread_name_prefix="labkit")
    if engine == "processes":
        return ProcessExecutor(min(workers, _MOST_WORKERS[engine]))
    if cluster is not None:
        return ClusterExecutor(cluster.client("executor"))
    from labkit.cluster import connect

    with connect(settings=settings) as running:
        return ClusterExecutor(running.client("executor"))


_MOST_WORKERS = {"sequential": 1, "threads": 1024, "processes": 61}  # 61: as many as Windows can wait for
_NOT_SO_MANY = {
    "sequential": N_("the engine 'sequential' has one worker, the caller; {workers} are not possible"),
    "threads": N_("the engine {engine!r} cannot have {workers} workers; 1 to {most} are possible"),
    "processes": N_("the engine {engine!r} cannot have {workers} workers; 1 to {most} are possible"),
    "cluster": N_("a cluster has its own workers; python -m labkit scale {workers} changes how many"),
}


def _refuse_after_shutdown() -> RuntimeError:
    return RuntimeError("cannot schedule new futures after shutdown")  # in the words of concurrent.futures


def _checked_chunksize(chunksize: int) -> int:
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    return chunksize


# --- in the caller ------------------------------------------------------------------------------------------


class SequentialExecutor(Executor):
    """Runs each call at once, in the thread that submits it: the baseline of every comparison.

    A future is therefore done when ``submit`` returns, and there is never anything to cancel. ``map`` runs
    everything before it returns, except what comes after a failure or after its time is up.
    """

    def __init__(self) -> None:
        self._down = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` and return a future that is done."""
        if self._down:
            raise _refuse_after_shutdown()
        return _done(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Run ``fn`` on each of the inputs and return an iterator over the results, in order.

        It raises what the first failing call raised, or TimeoutError where a call ended later than
        ``timeout`` seconds from now; what comes after that is not run. With a ``buffersize`` only that many
        calls are run before the first result is taken, and then one for each result.
        """
        _checked_chunksize(chunksize)
        checked_buffersize(buffersize)
        ends_at = None if timeout is None else time.monotonic() + timeout
        inputs = zip(*iterables, strict=False)
        failed = False

        def until_failed() -> Iterator[tuple[Any, ...]]:
            for args in inputs:
                yield args
                if failed:
                    return

        submit = _submits(self, fn)

        def run(args: tuple[Any, ...]) -> Future[Any]:
            nonlocal failed
            future = submit(args)
            if ends_at is not None and time.monotonic() > ends_at:
                future = Future()
                future.set_exception(TimeoutError())
            failed = future.exception() is not None
            try:
                return future
            finally:
                del future  # see _done

        if self._down:  # even if there is no input
            raise _refuse_after_shutdown()
        return map_futures(self, run, until_failed(), None, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more. Whatever was submitted is done already."""
        self._down = True


def _done(fn: Callable[..., Any], args: Any, kwargs: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    _run(future, fn, args, kwargs)
    try:
        return future
    finally:
        del future  # an exception's traceback refers to this frame: together they would form a cycle


def _run(future: Future[Any] | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    assert future is not None
    try:
        result = fn(*args, **kwargs)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - handed on; Ctrl-C is for the caller
        future.set_exception(error)
        future = None  # the traceback refers to this frame, and the frame to the future: break the cycle
    else:
        future.set_result(result)


# --- in threads ---------------------------------------------------------------------------------------------


class ThreadExecutor(ThreadPoolExecutor):
    """Python's own thread pool; ``map`` takes a ``buffersize`` in every version of Python."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule ``fn(*args, **kwargs)``."""
        return PoolFuture(super().submit(fn, *args, **kwargs))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """As ``Executor.map`` of Python 3.14; an iterator that is dropped cancels its calls."""
        checked_buffersize(buffersize)
        inputs = zip(*iterables, strict=False)
        return map_futures(self, _submits(self, fn), inputs, timeout, buffersize)


def _submits(executor: Executor, fn: Callable[..., Any]) -> Callable[[Iterable[Any]], Future[Any]]:
    """Return a function that submits ``fn`` with these arguments, and does not keep the executor alive."""
    alive = weakref.ref(executor)

    def submit(args: Iterable[Any]) -> Future[Any]:
        owner = alive()
        if owner is None:
            raise _refuse_after_shutdown()
        return owner.submit(fn, *args)

    return submit


# --- in processes -------------------------------------------------------------------------------------------


class ProcessExecutor(ProcessPoolExecutor):
    """Python's own process pool, always with ``spawn``, and with a clear error for others.

    ``fork`` copies a process whose other threads may hold a lock; macOS, Windows and Python 3.14 no longer do
    it either. Each process computes with one thread, as a worker of a cluster does.

    An exception that cannot be pickled and unpickled arrives as a `TaskFailed` (`labkit.calls.pickled`).
    """

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule ``fn(*args, **kwargs)``. Raises `CannotTravel` for a function without a name to import."""
        _require_a_name(fn)
        try:
            call = pickled.packed(fn, args, kwargs)
        except Exception as error:  # noqa: BLE001 - what pickle raises belongs to the call, as in every pool
            return _failed(error)
        return PoolFuture(super().submit(pickled.run, *call))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """As ``Executor.map`` of Python 3.14; ``chunksize`` calls travel together as one of ``buffersize``.

        Raises `CannotTravel` like ``submit``. An iterator that is dropped cancels its calls.
        """
        _require_a_name(fn)
        checked_buffersize(buffersize)
        inputs = zip(*iterables, strict=False)
        if _checked_chunksize(chunksize) == 1:
            return map_futures(self, _submits(self, fn), inputs, timeout, buffersize)
        chunks = ((chunk,) for chunk in _chunks(inputs, chunksize))
        each = _submits(self, functools.partial(_each, fn))
        results = map_futures(self, each, chunks, timeout, buffersize)
        return CallResults(chained(results), results.close)


def _each(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in chunk]


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _require_a_name(fn: Callable[..., Any]) -> None:
    if isinstance(fn, types.FunctionType):  # a class, a builtin or a partial is for pickle to judge
        registry.name_of(fn)


class Interrupted(KeyboardInterrupt, SystemExit):
    """Ctrl-C in a process of the pool. As a SystemExit it ends an idle process without a traceback."""


def _begin() -> None:
    """Prepare a process of the pool: it ends with its program, and computes with one thread.

    Ctrl-C reaches the whole process group, and so does the signal with which Jupyter ends a kernel: then each
    idle process would print a traceback of Python's own files.
    """
    signal.signal(signal.SIGINT, _interrupt)
    parent_watch.end_with_pool()
    _one_thread_each()


def _interrupt(_number: int, _frame: object) -> None:
    raise Interrupted


def _one_thread_each() -> None:
    """Native libraries read these variables when they are loaded, at the first picture."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(name, "1")


# --- on a cluster -------------------------------------------------------------------------------------------


class ClusterExecutor(Executor):
    """Sends calls to a cluster through a client of its own.

    The futures are `labkit.client.client.TaskFuture`, with ``task_id``, ``worker`` and ``attempt``.
    ``cancel`` succeeds while no worker is known to have started the task, and never waits. Tasks outlive the
    loss of workers and of the broker; a future without an outcome waits for their return.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()  # between submit and shutdown
        self._down = False
        # Like Python's pools: the end of the program waits for submitted tasks. (This runs before the
        # client's own exit function, because it is registered later; closing the client unregisters both.)
        atexit.register(client.close, True)
        # Like them, too: an executor that is dropped without being closed leaves no thread and no socket.
        weakref.finalize(self, client.close_when_done).atexit = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Send one call. Raises `CannotTravel` for a function or an argument that cannot be sent."""
        return self._send([self._client.prepare(fn, args, kwargs)])[0]

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Send a call for each of the inputs and return an iterator over the results, in order.

        With a ``buffersize`` at most that many tasks are sent whose results have not been taken. With a
        ``chunksize`` above 1 that many calls are one task: less to send, but one worker runs them all, and if
        it is lost they start again together. An input that cannot travel raises `CannotTravel` here, and the
        calls before it are cancelled. So are open calls when the iterator ends early or is dropped.
        """
        checked_buffersize(buffersize)
        ends_at = None if timeout is None else time.monotonic() + timeout
        inputs = _chunks(zip(*iterables, strict=False), _checked_chunksize(chunksize))
        chunks = zip(itertools.count(0, chunksize), inputs, strict=False)
        from labkit.client.futures import Batch

        batch = Batch(self._client, of_chunks=chunksize > 1)
        waiting: list[Call] = []
        send_at = time.monotonic() + SEND_AFTER_S
        try:
            for first, chunk in itertools.islice(chunks, buffersize):
                waiting += self._prepared(fn, chunk, first, together=chunksize > 1)
                if len(waiting) >= SEND_AT_CALLS or time.monotonic() >= send_at:
                    self._send_batch(batch, waiting)
                    waiting = []
                    send_at = time.monotonic() + SEND_AFTER_S
            self._send_batch(batch, waiting)
        except BaseException:  # also an input that raises, also Ctrl-C: the results will never be read
            batch.cancel()
            raise
        refill = None if buffersize is None else self._refill(batch, fn, chunks, chunksize > 1)
        results = batch.results(ends_at, refill)
        return CallResults(chained(results) if chunksize > 1 else results, batch.cancel)

    def _refill(
        self, batch: Batch, fn: Callable[..., Any], chunks: Iterator[tuple[int, list[Any]]], together: bool
    ) -> Callable[[], None]:
        """Return a function that sends the next task of a map, and does not keep this executor alive."""
        alive = weakref.ref(self)

        def refill() -> None:
            if (owner := alive()) is not None and (numbered := next(chunks, None)) is not None:
                first, chunk = numbered
                owner._send_batch(batch, owner._prepared(fn, chunk, first, together))

        return refill

    def _prepared(
        self, fn: Callable[..., Any], chunk: list[tuple[Any, ...]], first: int, together: bool
    ) -> list[Call]:
        """Return the calls for ``chunk``, the inputs from the index ``first`` on."""
        if first == 0:
            registry.name_of(fn)  # a function that cannot travel is not the fault of an input
        try:
            if not together:
                return [self._client.prepare(fn, chunk[0], {})]
            call = registry.name_of(fn), Chunk(chunk)
            return [self._client.prepare(jobs.run_each, call, {"first": first})]
        except CannotTravel as error:
            if len(chunk) == 1:
                template = N_("input {index} of {job}: {why}")
                raise CannotTravel(template, index=first, job=registry.name_of(fn), why=error) from None
        except Exception as error:
            if len(chunk) == 1:
                error.add_note(f"(at input {first} of {registry.name_of(fn)})")
                raise
        # Perhaps the chunk is too large for one message. If not, its smallest part raises the error.
        middle = len(chunk) // 2
        parts = ((chunk[:middle], first), (chunk[middle:], first + middle))
        return [call for part, start in parts for call in self._prepared(fn, part, start, True)]

    def _send_batch(self, batch: Batch, calls: list[Call]) -> None:
        with self._lock:
            if self._down:
                raise _refuse_after_shutdown()
            batch.submit(calls)

    def _send(self, calls: list[Call]) -> list[TaskFuture]:
        with self._lock:
            if self._down:
                raise _refuse_after_shutdown()
            return self._client.submit_prepared(calls)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more, and leave the cluster when every future is done; the cluster itself stays up.

        With ``wait`` it returns when that has happened. ``cancel_futures`` cancels what has not started.
        """
        with self._lock:
            first, self._down = not self._down, True
        if cancel_futures:
            self._client.cancel_all()
        if wait:
            self._client.close(wait=True)
        elif first:
            threading.Thread(target=self._client.close, args=(True,), name="labkit-shutdown").start()


def _chunks(inputs: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    inputs = iter(inputs)
    return iter(functools.partial(lambda: list(itertools.islice(inputs, size))), [])
