"""The client: futures for the user, a conversation with the broker, a ClientSession for the thinking.

``submit`` runs in the user's thread: it checks and encodes the call there, so that what cannot travel fails
at once and at the right line, then leaves it for the conversation (``labkit.client.io_loop``). Whichever
thread
leads that talks to the broker and resolves the futures. What to send, keep, resend and believe is decided in
``labkit.core.peers.client_session``.

Guarantee: each future is resolved exactly once: a correct result or a named error, also across the broker's
death, as long as this client lives.
"""

from __future__ import annotations

import atexit
import itertools
import json
import logging
import numbers
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import wait as futures_wait
from functools import partial
from typing import Any, TypeVar

from labkit.calls import registry, serialization
from labkit.client.futures import Batch, TaskFuture
from labkit.client.io_loop import IOLoop
from labkit.core.errors import (
    N_,
    BrokerUnreachable,
    CannotTravel,
    ClientGone,
    ClusterReplaced,
    InvalidInput,
    LabkitError,
    ProtocolError,
)
from labkit.core.peers import client_session as cs
from labkit.core.peers.task_errors import task_error, unreadable_result
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Credentials
from labkit.transport.sockets import check_address

log = logging.getLogger(__name__)
K = TypeVar("K")
T = TypeVar("T")

ANSWER_TIMEOUT_S = 5.0
MAX_SECONDS = 1e9


class Client:
    """A connection to one cluster's broker.

    ``address`` is the clients' address (tcp://127.0.0.1:5555), ``credentials`` prove who we are. Raises
    ``AccessDenied``, saying why, if the broker does not accept them, ``BrokerUnreachable`` if it does not
    answer within ``connect_timeout_s``, and ``InvalidInput`` if ``address`` is none.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        *,
        name: str = "",
        connect_timeout_s: float = 5.0,
        rules: Rules | None = None,
    ) -> None:
        check_address(address)
        self.address = address
        self._rules = rules or Rules()
        self._session = cs.ClientSession(os.urandom(16), name or f"pid {os.getpid()}", self._rules)
        self._io_loop = IOLoop(
            self._session, address, credentials, self._rules.max_message_bytes, self._act, self._end
        )
        self._futures: dict[bytes, TaskFuture] = {}
        self._batches: dict[bytes, Batch] = {}
        self._batches_done = threading.Event()
        self._cancels: dict[bytes, Future[bool]] = {}
        self._answers: dict[int, Future[m.Noted | m.Info]] = {}
        self._numbers = itertools.count(1)
        self._forgotten = False  # nobody will submit any more
        self._over = False  # the conversation has ended, or is about to: it looks at nothing any more
        self._callbacks: queue.SimpleQueue[Callable[[], object] | None] | None = None
        try:
            self._io_loop.start()
            atexit.register(self.close)  # who forgets to close still says goodbye: nothing is done in vain
            answered = self._io_loop.welcomed.wait(connect_timeout_s)
        except BaseException:  # Ctrl-C: nobody has this client, and it would knock for ever
            self.close()
            raise
        if not answered or self._io_loop.denied:
            self.close()
            raise self._io_loop.denied or self._no_answer(connect_timeout_s)

    def _no_answer(self, timeout_s: float) -> LabkitError:
        return BrokerUnreachable(
            N_("the broker at {address} did not answer within {seconds} s; is it up? python -m labkit up"),
            address=self.address, seconds=round(timeout_s, 1),
        )  # fmt: skip

    def _closed(self) -> LabkitError:
        if self._io_loop.denied:
            return self._io_loop.denied
        return BrokerUnreachable(N_("this client is closed; open a new one"))

    def _gone(self, task: str, worker: str | None = None) -> LabkitError:
        """Return why a task has no other outcome; ``worker`` is where it was running, if that is known."""
        if self._io_loop.denied:
            return ClusterReplaced(
                N_("task {task}: this client is not let in any more, and will not hear of it: {why}"),
                task=task, why=self._io_loop.denied,
            )  # fmt: skip
        if worker:
            return ClientGone(
                N_("task {task}: this client was closed first; it was running on {worker}"),
                task=task, worker=worker,
            )  # fmt: skip
        return ClientGone(N_("task {task}: this client was closed first"), task=task)

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
        long the task may stay open, ``lease_s`` how long one attempt may run. Raises ``CannotTravel`` for
        what cannot be sent, and ``InvalidInput`` for a time that is none.
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
    ) -> cs.Call:
        """Return a call that is encoded and ready to be submitted once."""
        args = tuple(args)
        name = function if isinstance(function, str) else registry.name_of(function)
        needs = () if isinstance(function, str) else registry.needs_of(function, args, kwargs)
        payload = serialization.encode_call(name, args, kwargs)
        size = payload.size
        limit = min(self._rules.max_message_bytes, self._rules.max_client_bytes)
        if size > limit or len(payload.frames) > self._rules.max_frames:
            raise CannotTravel(
                N_(
                    "{job}: its arguments are {size} bytes in {frames} arrays; "
                    "{limit} bytes and {max} arrays can travel"
                ),
                job=name, size=size, frames=len(payload.frames), limit=limit, max=self._rules.max_frames,
            )  # fmt: skip
        budget_s = self._rules.task_deadline_s if deadline_s is None else _seconds("deadline_s", deadline_s)
        lease = 0.0 if lease_s is None else _seconds("lease_s", lease_s)
        deadline = time.monotonic() + budget_s
        sorted_needs = ",".join(sorted(needs)) if needs else ""
        return m.new(cs.Call, (os.urandom(16), deadline, lease, name, sorted_needs, payload, size))

    def submit_prepared(self, calls: Iterable[cs.Call]) -> list[TaskFuture]:
        """Submit many calls with one wake-up of the conversation's thread."""
        if self._io_loop.is_closing:
            raise self._closed()
        calls = list(calls)
        is_first = not self._futures
        futures = []
        for call in calls:
            future = self._futures[call.task] = TaskFuture(self, call.task)
            futures.append(future)
        (self._io_loop.post_now if is_first else self._io_loop.post)(calls)
        if self._over:  # another thread closed this client meanwhile
            self._give_up()
        return futures

    def submit_for(self, batch: Batch, calls: Iterable[cs.Call]) -> None:
        """Submit a batch's calls; each outcome goes to ``batch.take``."""
        calls = list(calls)
        for call in calls:
            self._batches[call.task] = batch
        self._io_loop.post(calls)
        if self._over:
            self._give_up()

    def forget(self, batch: Batch, tasks: Iterable[bytes]) -> None:
        """Cancel a batch's tasks that have not started, and do not tell it of the others any more."""
        unwanted = [task for task in tasks if self._batches.pop(task, None) is not None]
        if not self._batches:
            self._batches_done.set()
        for task in unwanted:
            self._io_loop.post(cs.CancelAsked(task))
        self._leave_if_forgotten()

    def wait_for(
        self, done: Callable[[], bool], block: Callable[[float | None], Any], ends_at: float | None
    ) -> None:
        """Return when ``done()``, helping the conversation along; or ``block(timeout_s)`` where it is not
        needed."""
        self._io_loop.wait_for(done, block, ends_at)

    def cancel(self, future: TaskFuture) -> bool:
        """Cancel a task that has not started; returns whether it will have no other outcome.

        That is a promise about what is seen, not about what is computed: a task that was waiting at its
        worker may begin before the worker hears of it, and one that was requeued may have run before. What
        comes of it is dropped.
        """
        return self.cancel_many([future])[0]

    def cancel_many(self, futures: Iterable[TaskFuture], timeout_s: float = ANSWER_TIMEOUT_S) -> list[bool]:
        """Cancel those tasks that have not started; returns for each whether it will have no other outcome.

        One wake-up, and one wait for all answers. With ``timeout_s=0`` it does not wait: the futures tell.
        """
        return self._cancel([future.task for future in futures], timeout_s)

    def cancel_all(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Cancel all of this client's tasks that have not started, those of batches too."""
        self._cancel([*self._futures, *self._batches], timeout_s)

    def _cancel(self, tasks: list[bytes], timeout_s: float) -> list[bool]:
        answers: list[Future[bool]] = []
        for task in tasks:
            answers.append(self._cancels.setdefault(task, Future()))
            self._io_loop.post(cs.CancelAsked(task))
        if self._over:
            self._give_up()
        futures_wait(answers, timeout_s)
        return [answer.done() and answer.result() for answer in answers]

    def note(self, fault: str, target: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Write into the history that ``fault`` is about to happen to ``target``; returns when it is
        there."""
        self._ask(lambda number: m.Note(number, fault, target), timeout_s)

    def status(self, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """Return the broker's own picture of the cluster: workers, queued, assigned, clients, counters."""
        info = self._ask(m.Query, timeout_s)
        assert type(info) is m.Info
        answer: dict[str, Any] = json.loads(info.json)
        return answer

    def _ask(self, question: Callable[[int], m.Note | m.Query], timeout_s: float) -> m.Noted | m.Info:
        number = next(self._numbers)
        message = question(number)
        wire.encode(message)  # what cannot be said fails here, not in the I/O thread
        answer: Future[m.Noted | m.Info] = Future()
        self._answers[number] = answer
        self._io_loop.post(cs.Ask(message))
        if self._io_loop.is_closing:
            raise self._closed()
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            self._io_loop.post(cs.ForgetAsked(number))  # a note is not to be written once more, later
            raise self._no_answer(timeout_s) from None
        finally:
            self._answers.pop(number, None)

    @property
    def open_tasks(self) -> int:
        """How many tasks have no outcome yet."""
        return len(self._futures) + len(self._batches)

    @property
    def duplicates(self) -> int:
        """How many second outcomes came and were dropped."""
        return self._session.duplicates

    def open_futures(self) -> list[TaskFuture]:
        """Return the futures of the tasks that have no outcome yet, in the order of their submission."""
        return list(self._futures.values())

    def close_when_done(self) -> None:
        """Leave as soon as everything open has its outcome; returns at once, and may be called anywhere."""
        self._forgotten = True
        self._leave_if_forgotten()

    def _leave_if_forgotten(self) -> None:
        if self._forgotten and not self._futures and not self._batches:
            self._io_loop.end()

    def close(self, wait: bool = False) -> None:
        """Leave. Open tasks are cancelled at the broker, and their futures fail with ``ClientGone``.

        With ``wait`` it first waits until everything open has its outcome.
        """
        if wait and not self._io_loop.is_closing:
            futures_wait(self.open_futures())
            self._batches_done.clear()
            if self._batches:
                self._batches_done.wait()
        self._io_loop.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what the session wants done, in the thread that leads ----------------------------------------------

    def _act(self, action: Any) -> None:
        kind = type(action)
        if kind is cs.Outcome:
            self._resolve(action.call, action.message)
        elif kind is cs.NowRunning:
            self._mark_running(action.task, action.worker)
        elif kind is cs.CancelAnswer:
            self._answer_cancel(action.task, action.done)
        elif kind is cs.Answer:
            answer = self._answers.pop(action.message.number, None)
            if answer is not None:
                answer.set_result(action.message)
        if self._forgotten:
            self._leave_if_forgotten()

    # --- outcomes ---

    def _resolve(self, call: cs.Call, message: m.Result | m.Failed) -> None:
        batch = self._batches.pop(call.task, None)
        if batch is not None:
            batch.take(call.task, message)
            if not self._batches:
                self._batches_done.set()
            return
        future = self._futures.pop(call.task, None)
        if future is None:
            return
        future.worker = message.worker or None
        future.attempt = message.attempt
        if isinstance(message, m.Failed):
            future.set_exception(task_error(call, message))
            return
        future.compute_s = message.compute_s
        try:
            value = serialization.decode_value(message.payload)
        except ProtocolError as error:
            future.set_exception(unreadable_result(call, message, error))
        else:
            future.set_result(value)

    def _mark_running(self, task: bytes, worker: str) -> None:
        future = self._futures.get(task)
        if future is not None and not future.running():
            future.worker = worker
            future.set_running_or_notify_cancel()

    def _answer_cancel(self, task: bytes, done: bool) -> None:
        future = self._futures.get(task)
        if done and future is not None:
            del self._futures[task]
            Future.cancel(future)
            future.set_running_or_notify_cancel()  # tells those who wait on several futures at once
        if done and (batch := self._batches.pop(task, None)) is not None:
            batch.take(task, m.CancelReply(task, True))
            if not self._batches:
                self._batches_done.set()
        answer = self._cancels.pop(task, None)
        if answer is not None:
            answer.set_result(done)

    def _end(self) -> None:
        """The conversation is over: leave no future without an outcome."""
        self._over = True
        self._give_up()
        if self._callbacks is not None:
            self._callbacks.put(None)
        if self._forgotten:
            atexit.unregister(self.close)

    def _give_up(self) -> None:
        """Resolve what nobody else will. Two threads may do this at once: each takes what it resolves."""
        while (future := _take_one(self._futures)) is not None:
            if not future.done():
                future.set_exception(self._gone(future.task_id, future.worker))
        while self._batches:
            for task in list(self._batches):
                if (batch := self._batches.pop(task, None)) is not None:
                    batch.take(task, self._gone(task.hex()))
        self._batches_done.set()
        while (cancelled := _take_one(self._cancels)) is not None:
            cancelled.set_result(False)
        while (answer := _take_one(self._answers)) is not None:
            answer.set_exception(self._closed())

    # --- callbacks ------------------------------------------------------------------------------------------

    def call_back(self, fn: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        """Call ``fn``, but never in the thread that leads: it may be slow, or wait for what this thread must
        do."""
        if not self._io_loop.is_mine:
            fn(future)
            return
        if self._callbacks is None:
            self._callbacks = queue.SimpleQueue()
            threading.Thread(
                target=_run_callbacks, args=(self._callbacks,), name="labkit-callbacks", daemon=True
            ).start()
        self._callbacks.put(partial(fn, future))


def _seconds(name: str, given: float) -> float:
    """A time from the user, checked where the user can see it: the I/O thread must not stumble over it."""
    value: Any = given
    if not isinstance(given, numbers.Real) or not 0 < value <= MAX_SECONDS:
        raise InvalidInput(
            N_("{name}={value!r}: a number of seconds is expected, more than 0 and at most {most:g}"),
            name=name, value=value, most=MAX_SECONDS,
        )  # fmt: skip
    return float(value)


def _run_callbacks(callbacks: queue.SimpleQueue[Callable[[], object] | None]) -> None:
    while (callback := callbacks.get()) is not None:
        try:
            callback()
        except Exception:  # somebody else's code; concurrent.futures, too, logs and goes on
            log.exception("a callback of a future failed")


def _take_one(table: dict[K, T]) -> T | None:
    try:
        return table.popitem()[1]
    except KeyError:
        return None
