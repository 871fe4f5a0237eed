"""The client: futures for the user, an I/O loop with the broker, a ClientSession for the decisions.

``submit`` runs in the user's thread. It checks and encodes the call there, so that a call that cannot travel
fails at once and at the right line, then hands it to the I/O loop (``labkit.client.io_loop``). The thread
that leads the loop talks to the broker and resolves the futures. ``labkit.core.peers.client_session`` decides
what to send, keep, send again and accept.

Guarantee: each future is resolved exactly once, with a correct result or a named error, even if the broker
dies, as long as this client lives.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from labkit.client import process_waits, settle
from labkit.client.broker_search import BrokerSearch
from labkit.client.callbacks import Callbacks
from labkit.client.endings import no_answer
from labkit.client.futures import Batch, TaskFuture, value_of
from labkit.client.io_loop import IOLoop
from labkit.client.nested_waits import NestedWaits, Waiters
from labkit.client.prepare import prepare_call
from labkit.core.errors import ResultUnreadable
from labkit.core.names import check_label
from labkit.core.peers import client_events as ce
from labkit.core.peers import client_session as cs
from labkit.core.peers.task_errors import task_error
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Credentials
from labkit.support import current_task
from labkit.support.current_task import CurrentTask
from labkit.transport.sockets import check_address

K = TypeVar("K")
T = TypeVar("T")

ANSWER_TIMEOUT_S = 5.0
TELL_AFTER_S = 0.2
"""A task that waits for another task tells the broker after this time."""


class Client:
    """A connection to one cluster's broker.

    ``address`` is the clients' address (tcp://127.0.0.1:5555), ``credentials`` authenticate us. Raises
    ``AccessDenied`` with the reason if the broker does not accept them, ``BrokerUnreachable`` if it does not
    answer within ``connect_timeout_s``, ``TooManyOpenFiles`` or ``ClientFailed`` if this process cannot
    connect at all, and ``InvalidInput`` if ``address`` or ``name`` is malformed.
    ``find_broker`` returns the present address of a broker that may come back at another one; it is called in
    a thread of its own when the broker has been silent (``labkit.client.broker_search``).
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        *,
        name: str = "",
        connect_timeout_s: float = 5.0,
        rules: Rules | None = None,
        find_broker: Callable[[], str] | None = None,
    ) -> None:
        check_address(address)
        check_label(name)
        self.address = address
        self._rules = rules or Rules()
        self._session = cs.ClientSession(os.urandom(16), name or f"pid {os.getpid()}", self._rules)
        self._io_loop = IOLoop(
            self._session, address, credentials, self._rules.max_message_bytes, self._act, self._end
        )
        if find_broker is not None:
            self._io_loop.when_silent = BrokerSearch(address, find_broker, self._move_to).start
        self._futures: dict[bytes, TaskFuture] = {}
        self._batches: dict[bytes, Batch] = {}
        self._batches_done = threading.Event()
        self._starting = threading.Lock()  # a future is marked as running, or cancelled, but not both
        self._answers: dict[int, Future[m.Noted | m.Info]] = {}
        self._numbers = itertools.count(1)
        self._forgotten = False  # the user will submit nothing more
        self._giving_up: set[int] = set()  # the threads in ``_give_up``
        self._over = False  # the I/O loop has ended, or is about to: it handles no further event
        self._callbacks = Callbacks()
        self._nested_waits = NestedWaits(partial(process_waits.tell, self))
        try:
            self._io_loop.start()
            atexit.register(self.close)  # without close() by the user, the broker must still get the goodbye
            answered = self._io_loop.welcomed.wait(connect_timeout_s)
        except BaseException:  # Ctrl-C: no one else can close this client, and it would reconnect for ever
            self.close()
            raise
        cause = self._io_loop.ending.cause
        if not answered or cause:
            self.close()
            raise cause or no_answer(address, connect_timeout_s)

    def _move_to(self, address: str) -> None:
        """Connect to the broker at this address from the next attempt on."""
        self.address = address
        self._io_loop.move_to(address)

    # --- the user's side ---

    def submit(
        self,
        function: Callable[..., Any] | str,
        /,
        *args: Any,
        deadline_s: float | None = None,
        lease_s: float | None = None,
        **kwargs: Any,
    ) -> TaskFuture:
        """Submit one call and return its future.

        ``function`` is a module-level function, or its name as ``module:qualname``. ``deadline_s`` is how
        long the task may stay open, ``lease_s`` how long one attempt may run. Raises ``CannotTravel`` for a
        call that cannot be sent, and ``InvalidInput`` for a time that is not a number of seconds.
        """
        call = self.prepare(function, args, kwargs, deadline_s, lease_s)
        return self.submit_prepared([call])[0]

    def prepare(
        self,
        function: Callable[..., Any] | str,
        args: Iterable[Any],
        kwargs: dict[str, Any],
        deadline_s: float | None = None,
        lease_s: float | None = None,
    ) -> ce.Call:
        """Return a call that is encoded and ready to be submitted once."""
        return prepare_call(self._rules, function, args, kwargs, deadline_s, lease_s)

    def submit_prepared(self, calls: Iterable[ce.Call]) -> list[TaskFuture]:
        """Return the futures of these calls, submitted with one wake-up of the I/O loop's thread."""
        if self._io_loop.is_closing:
            raise self._io_loop.ending.closed()
        calls = list(calls)
        is_first = not self._futures
        futures = []
        for call in calls:
            future = self._futures[call.task] = TaskFuture(self, call.task)
            futures.append(future)
        (self._io_loop.post_now if is_first else self._io_loop.post)(calls)
        if self._over:  # another thread has closed this client meanwhile
            self._give_up()
        self._watch_waits()
        return futures

    def submit_for(self, batch: Batch, calls: Iterable[ce.Call]) -> None:
        """Submit a batch's calls; each outcome goes to ``batch.take``."""
        calls = list(calls)
        for call in calls:
            self._batches[call.task] = batch
        self._io_loop.post(calls)
        if self._over:
            self._give_up()
        self._watch_waits()

    def forget(self, batch: Batch, tasks: Iterable[bytes]) -> None:
        """Cancel a batch's tasks that have not started, and drop the outcomes of the others."""
        unwanted = [task for task in tasks if self._batches.pop(task, None) is not None]
        if not self._batches:
            self._batches_done.set()
        for task in unwanted:
            self._io_loop.post(ce.CancelAsked(task))
        self._leave_if_forgotten()

    def wait_for(
        self, done: Callable[[], bool], block: Callable[[float | None], object], ends_at: float | None
    ) -> None:
        """Return when ``done()``: lead the I/O loop, or ``block(timeout_s)`` if another thread leads."""
        self._io_loop.wait_for(done, block, ends_at)

    def wait_inside(
        self,
        inside: CurrentTask,
        awaited: bytes,
        done: Callable[[], bool],
        block: Callable[[float | None], object],
        ends_at: float | None,
    ) -> None:
        """Do what ``wait_for`` does, for a thread that computes the task ``inside`` of a worker.

        A wait without a limit, or for as long as that task may run, is reported to the broker: it may be part
        of a deadlock.
        """
        now = time.monotonic()
        if ends_at is not None and ends_at < now + inside.lease_s:
            self.wait_for(done, block, ends_at)
            return
        with suppress(TimeoutError):
            self.wait_for(done, block, now + TELL_AFTER_S)
        if done():
            return
        process_waits.tell(self, ce.WaitsNow(inside.task, inside.attempt, (awaited,)))
        try:
            self.wait_for(done, block, ends_at)
        finally:
            process_waits.tell(self, ce.WaitsNow(inside.task, inside.attempt, ()))

    def _watch_waits(self) -> None:
        if current_task.is_in_worker():
            process_waits.watch(self, self._rules)

    @property
    def broker_epoch(self) -> bytes:
        """Which broker this client talks to."""
        return self._session.broker_epoch

    def awaited_tasks(self, blocking: Collection[bytes]) -> list[bytes]:
        """Return the open tasks among ``blocking``, or with callbacks or threads that wait for several."""
        called = [task for task, future in list(self._futures.items()) if future.is_awaited]
        threads = [task for task in blocking if task in self._futures or task in self._batches]
        return list(dict.fromkeys(called + threads))

    def report(self, waits: ce.WaitsNow) -> None:
        """Tell the broker what a task that runs in this process waits for."""
        self._io_loop.post(waits)

    def nested_waiters(self, inside: CurrentTask) -> list[Any]:
        """Return a new list of waiters for a future that the task ``inside`` makes."""
        return Waiters(self._nested_waits, inside)

    def cancel(self, future: TaskFuture) -> bool:
        """Cancel a task that is not known to have started; return whether it will have no other outcome.

        Returns at once; the broker receives the cancellation afterwards. True means that no result will be
        delivered. The task may still be computed: a worker may begin before the cancellation arrives, and a
        requeued task may have run before. Its result is dropped.
        """
        with self._starting:
            if future.running() or self._futures.pop(future.task, None) is None:
                return False
        self._io_loop.post(ce.CancelAsked(future.task))
        self._nested_waits.outcome(future.task)
        settle.cancel(future)
        self._leave_if_forgotten()
        return future.cancelled()

    def cancel_many(self, futures: Iterable[TaskFuture]) -> list[bool]:
        """Cancel those of the tasks that have not started; return for each what ``cancel`` returns."""
        return [future.cancel() for future in futures]

    def cancel_all(self) -> None:
        """Cancel all of this client's tasks that have not started; those of batches when the broker agrees.

        It does not wait; ``close(wait=True)`` does.
        """
        self.cancel_many(self.open_futures())
        for task in list(self._batches):
            self._io_loop.post(ce.CancelAsked(task))

    def note(self, fault: str, target: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Record that ``fault`` is about to happen to ``target``; return when the history has it."""
        self._ask(lambda number: m.Note(number, fault, target), timeout_s)

    def status(self, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """Return the broker's own view of the cluster: workers, queued, assigned, clients, counters."""
        info = self._ask(m.Query, timeout_s)
        assert type(info) is m.Info
        answer: dict[str, Any] = json.loads(info.json)
        return answer

    def _ask(self, question: Callable[[int], m.Note | m.Query], timeout_s: float) -> m.Noted | m.Info:
        number = next(self._numbers)
        message = question(number)
        wire.encode(message)  # a message that cannot be encoded fails here, not in the I/O thread
        answer: Future[m.Noted | m.Info] = Future()
        self._answers[number] = answer
        self._io_loop.post(ce.Ask(message))
        if self._io_loop.is_closing:
            raise self._io_loop.ending.closed()
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            self._io_loop.post(ce.ForgetAsked(number))  # otherwise a note could be recorded again, later
            raise no_answer(self.address, timeout_s) from None
        finally:
            self._answers.pop(number, None)
            del answer  # the traceback of its exception refers to this frame

    @property
    def has_failed(self) -> bool:
        """Whether this client has ended by itself, because its connection failed."""
        return self._io_loop.ending.failure is not None

    @property
    def open_tasks(self) -> int:
        """How many tasks have no outcome yet."""
        return len(self._futures) + len(self._batches)

    @property
    def duplicates(self) -> int:
        """How many second outcomes arrived and were dropped."""
        return self._session.duplicates

    def open_futures(self) -> list[TaskFuture]:
        """Return the futures of the tasks that have no outcome yet, in the order of their submission."""
        return list(self._futures.values())

    def close_when_done(self) -> None:
        """Leave as soon as every open task has its outcome. Returns at once; any thread may call it."""
        self._forgotten = True
        self._leave_if_forgotten()

    def _leave_if_forgotten(self) -> None:
        if self._forgotten and not self._futures and not self._batches:
            self._io_loop.end()

    def close(self, wait: bool = False) -> None:
        """Leave. Open tasks are cancelled at the broker, and their futures fail with ``ClientGone``.

        With ``wait`` it first waits until every open task has its outcome.
        """
        if wait and not self._io_loop.is_closing:
            for future in self.open_futures():
                future.wait()
            self._batches_done.clear()
            if self._batches:
                with process_waits.blocked(tuple(self._batches), None):
                    self._batches_done.wait()
        self._io_loop.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the session's actions, in the thread that leads ----------------------------------------------------

    def _act(self, action: Any) -> None:
        kind = type(action)
        if kind is ce.Outcome:
            self._resolve(action.call, action.message)
        elif kind is ce.NowRunning:
            self._mark_running(action.task, action.worker)
        elif kind is ce.CancelAnswer:
            self._answer_cancel(action.task, action.done)
        elif kind is ce.Answer:
            answer = self._answers.pop(action.message.number, None)
            if answer is not None:
                answer.set_result(action.message)
        if self._forgotten:
            self._leave_if_forgotten()

    # --- outcomes ---

    def _resolve(self, call: ce.Call, message: m.Result | m.Failed) -> None:
        batch = self._batches.pop(call.task, None)
        if batch is not None:
            batch.take(call.task, message)
            if not self._batches:
                self._batches_done.set()
            return
        future = self._futures.pop(call.task, None)
        self._nested_waits.outcome(call.task)
        if future is None:
            return
        future.worker = message.worker or None
        future.attempt = message.attempt
        if isinstance(message, m.Failed):
            settle.fail(future, task_error(call, message))
            return
        future.compute_s = message.compute_s
        try:
            settle.succeed(future, value_of(call, message))
        except ResultUnreadable as error:
            settle.fail(future, error)
        finally:
            del future  # the error's traceback refers to this frame: together they would form a cycle

    def _mark_running(self, task: bytes, worker: str) -> None:
        future = self._futures.get(task)
        if future is not None and not future.running():
            future.worker = worker
            with self._starting:
                settle.mark_running(future)

    def _answer_cancel(self, task: bytes, done: bool) -> None:
        if done and (batch := self._batches.pop(task, None)) is not None:
            batch.take(task, m.CancelReply(task, True))
            if not self._batches:
                self._batches_done.set()

    def _end(self) -> None:
        """The I/O loop is over: leave no future without an outcome."""
        self._over = True
        self._give_up()
        if self._forgotten:
            atexit.unregister(self.close)

    def _give_up(self) -> None:
        """Resolve everything still open. Two threads may call this at once: each takes what it resolves."""
        me = threading.get_ident()
        self._giving_up.add(me)
        try:
            while (future := _take_one(self._futures)) is not None:
                settle.fail(future, self._io_loop.ending.of_task(future.task_id, future.worker))
        finally:
            self._giving_up.discard(me)
            self._callbacks.close()
        while self._batches:
            for task in list(self._batches):
                if (batch := self._batches.pop(task, None)) is not None:
                    batch.take(task, self._io_loop.ending.of_task(task.hex()))
        self._batches_done.set()
        while (answer := _take_one(self._answers)) is not None:
            answer.set_exception(self._io_loop.ending.closed())

    # --- callbacks ------------------------------------------------------------------------------------------

    def call_back(self, fn: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        """Call ``fn`` here, or in a thread of its own if this thread leads or resolves other futures too.

        ``fn`` may be slow, wait for this very thread, or end it.
        """
        if self._io_loop.is_mine or threading.get_ident() in self._giving_up:
            self._callbacks.put(partial(fn, future))
        else:
            fn(future)


def _take_one(table: dict[K, T]) -> T | None:
    try:
        return table.popitem()[1]
    except KeyError:
        return None
