"""A client's I/O loop: connection and session, led by one thread at a time.

The leader sends, waits, reads and calls the session. A thread of the loop's own does nothing else, so that
the client sends heartbeats and receives results whatever the user's program is doing. But a user's thread
that waits for a result is idle anyway, so while it waits, *it* leads. A result then passes through no second
thread, which for a task of microseconds would cost more than the task.

::

    loop's own thread   LEADS ──────────────► STANDS BACK ──────────► LEADS
                          a user's thread       no thread has led
                          claims the lead       for LINGER_S

    a user's thread     submit: hands over what is to be sent; or, if no thread leads, sends it
                        result: leads until it has arrived, unless another user's thread waits already

Rules:

* Connection, session and poller are used under ``_lead`` only.
* If several users' threads wait at the same time, the loop's own thread serves them.
* The loop's own thread stands back for milliseconds only: nothing depends on a user's thread that never
  returns.
* A user's thread that leads cannot be interrupted in the middle of a step (``labkit.support.signals``).
* A loop belongs to the process that made it. A forked child has a copy without the thread, and with locks
  that are never released there: it gets an error instead, and leaves the sockets alone.

Source: the Leader/Followers pattern (Schmidt and others, Pattern-Oriented Software Architecture 2, 2000).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

from labkit.client.endings import Ending
from labkit.core.errors import N_, ClientGone
from labkit.core.peers import client_events as ce
from labkit.core.peers import client_session as cs
from labkit.core.peers.session import Connect, Send, Tick
from labkit.core.protocol import messages as m
from labkit.security.credentials import Credentials
from labkit.support import descriptors
from labkit.support.signals import DeferredSignals
from labkit.support.waker import Waker
from labkit.transport import sockets
from labkit.transport.connection import RETRY_S, TURN_BUDGET, Connection
from labkit.transport.poller import Poller, Socket
from labkit.transport.sockets import CLIENT_ROLE

FAREWELL_MS = 500
TICK_EVERY_S = 0.1
"""How often the session gets a Tick, however much there is to read."""
LINGER_S = 0.003
"""After a user's thread has led, the loop's own thread stands back for this long."""
LONG_LEAD_S = 0.01
LOOK_EVERY_S = 0.05
"""Once a user's thread has led for LONG_LEAD_S, the loop's own thread checks only this often."""


class IOLoop:
    """See the module's head.

    The leader calls ``act`` with each action of the session that does not concern the connection. ``ended``
    is called once, when the loop is over and the sockets are closed.
    """

    def __init__(
        self,
        session: cs.ClientSession,
        address: str,
        credentials: Credentials,
        max_message_bytes: int,
        act: Callable[[Any], None],
        ended: Callable[[], None],
    ) -> None:
        self.session = session
        self.ending = Ending()
        self.welcomed = threading.Event()
        """Set when the broker has answered or has refused us, or when the loop is over."""
        self.when_silent: Callable[[], None] | None = None
        """Called by the leader at each new connection after the first: the broker was silent. Set it before
        ``start``."""
        self._was_opened = False
        self._act = act
        self._ended = ended
        with descriptors.named(), ExitStack() as undo:
            self._context = sockets.new_context()
            undo.callback(self._context.term)
            self._waker = Waker()
            undo.callback(self._waker.close)
            self._poller = Poller()
            undo.callback(self._poller.close)
            self._poller.add(self._waker)
            undo.pop_all()
        self._connection = Connection(
            self._context, self._poller, address, CLIENT_ROLE, credentials, m.TO_CLIENT, max_message_bytes
        )
        self._inbox: deque[Any] = deque()  # events for the session, from any thread
        self._ticked_at = 0.0
        self._denied_since: float | None = None
        self._closing = False
        self._is_copy = False
        self._lead = threading.Lock()
        self._leader = 0  # the thread that leads
        self._claim = threading.Lock()  # held by the user's thread that leads, or is about to
        self._left_at = float("-inf")  # when a user's thread last led
        self._blocked: set[int] = set()  # users' threads that wait without leading
        self._parked = False
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="labkit-client", daemon=True)
        _io_loops.add(self)

    def start(self) -> None:
        """Start the loop's own thread. Raises ClientFailed if that is not possible; then the loop is over."""
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads are allowed
            self.ending.fail(error)
            self._as_leader(self._finish)
            raise self.ending.closed() from error

    # --- any thread -----------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether ``close`` was called, or the loop has failed."""
        return self._closing

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread leads."""
        return self._leader == threading.get_ident()

    def move_to(self, address: str) -> None:
        """Use this address for the next connection, and every later one."""
        self._connection.address = address

    def post(self, event: Any) -> None:
        """Pass an event to the session, or a list of calls to submit."""
        self._inbox.append(event)
        self._wake()

    def post_now(self, event: Any) -> None:
        """Like ``post``; if no thread leads just now, this thread handles the event and sends the result."""
        if self._parked:
            with DeferredSignals(self._waker.wake):
                if self._lead.acquire(blocking=False):
                    self._inbox.append(event)
                    self._lead_on(lambda: self._take_in([], time.monotonic()))
                    if self._closing:
                        self._alarm.put(None)
                    return
        self.post(event)

    def wait_for(
        self, done: Callable[[], bool], block: Callable[[float | None], object], ends_at: float | None
    ) -> None:
        """Return when ``done()``; lead until then, or call ``block(timeout_s)`` if another thread leads.

        After ``ends_at``, an instant of ``time.monotonic``, ``block`` is called with 0. Raises ClientGone in
        a forked child.
        """
        if self._is_copy:
            raise ClientGone(N_("this client belongs to the process that opened it; a fork opens its own"))
        if not self._blocked and not self.is_mine:
            with DeferredSignals(self._waker.wake) as signals:
                if self._claim.acquire(blocking=False):
                    try:
                        self._lead_until(lambda: done() or bool(signals.received), ends_at)
                    finally:
                        self._claim.release()
        if not done():
            me = threading.get_ident()
            self._blocked.add(me)
            try:
                block(None if ends_at is None else max(0.0, ends_at - time.monotonic()))
            finally:
                self._blocked.discard(me)

    def end(self) -> None:
        """Like ``close``, without waiting: for callers that cannot wait, such as the garbage collector."""
        self._closing = True
        self._wake()

    def close(self) -> None:
        """Say goodbye and end. Returns when that is done, unless the loop's own thread calls."""
        if self._is_copy:
            return
        self.end()
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._thread.join()

    def _wake(self) -> None:
        self._waker.wake()
        if self._parked:
            self._alarm.put(None)

    # --- a user's thread ------------------------------------------------------------------------------------

    def _lead_until(self, done: Callable[[], bool], ends_at: float | None) -> None:
        began = time.monotonic()
        if not self._lead.acquire(blocking=False):
            self._waker.wake()  # the loop's own thread has it, and releases it now
            self._lead.acquire()
        self._lead_on(lambda: self._take_turns(done, ends_at))
        if self._inbox or self._closing or self._blocked or self._left_at - began > LONG_LEAD_S:
            self._alarm.put(None)

    def _take_turns(self, done: Callable[[], bool], ends_at: float | None) -> None:
        while not (done() or self._closing):
            if ends_at is not None and time.monotonic() >= ends_at:
                return
            self._turn(ends_at)

    def _lead_on(self, work: Callable[[], None]) -> None:
        """Do ``work`` as the leader. The caller has acquired ``_lead``; it is released at the end."""
        try:
            self._leader = threading.get_ident()
            work()
            self._connection.flush()
        except BaseException as error:
            # A step was interrupted in the middle, so the state cannot be trusted. The loop's own thread
            # gives every future an outcome that names the cause.
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._leader = 0
            self._left_at = time.monotonic()
            self._lead.release()

    # --- the loop's own thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._as_leader(lambda: self._do(self.session.start(time.monotonic())))
            while not self._closing:
                if self._is_led():
                    self._stand_back()
                else:
                    self._as_leader(lambda: self._turn(None))
            if not self.ending.failure:
                self._as_leader(lambda: self._do(self.session.handle(ce.CloseAsked(), time.monotonic())))
        except BaseException as error:  # noqa: BLE001 - every user of this client gets it
            self._fail(error)
        self._as_leader(self._finish)

    def _as_leader(self, work: Callable[[], None]) -> None:
        with self._lead:
            self._leader = threading.get_ident()
            try:
                work()
            finally:
                self._leader = 0

    def _fail(self, error: BaseException) -> None:
        self._closing = True
        self.ending.fail(descriptors.too_many(error) if descriptors.is_exhausted(error) else error)

    def _is_led(self) -> bool:
        """Return whether a user's thread leads, or is likely to in a moment."""
        if self._claim.locked():
            return True
        return not (self._blocked or self._inbox) and time.monotonic() - self._left_at < LINGER_S

    def _stand_back(self) -> None:
        lasts_long = self._claim.locked() and time.monotonic() - self._left_at > LONG_LEAD_S
        self._parked = True
        # Checked again: threads that post from now on see ``_parked``.
        if self._is_led() and not self._closing:
            try:
                self._alarm.get(timeout=LOOK_EVERY_S if lasts_long else LINGER_S)
            except queue.Empty:
                pass  # time to check again
        self._parked = False

    def _finish(self) -> None:
        """Release everything, whatever state it is in, and tell the client."""
        self._closing = True
        try:
            if not self.ending.failure:
                self._connection.flush()
            was_admitted = self.welcomed.is_set() and not self.ending.cause
            self._connection.close(FAREWELL_MS if was_admitted else 0)
        except Exception as error:  # noqa: BLE001 - the rest must be released all the same
            self._fail(error)
        self._poller.close()
        self._waker.close()
        if self.ending.failure:
            self._context.destroy(linger=0)  # not only ``term``, which waits for sockets that are still open
        else:
            self._context.term()
        self.welcomed.set()
        self._ended()

    # --- the leader -----------------------------------------------------------------------------------------

    def _turn(self, ends_at: float | None) -> None:
        self._connection.flush()
        self._waker.arm()
        ready = self._poller.wait(self._timeout_s(ends_at))
        self._waker.clear(self._waker in ready)
        self._take_in(ready, time.monotonic())

    def _timeout_s(self, ends_at: float | None) -> float:
        if self._inbox or self._closing or (self._claim.locked() and self._leader == self._thread.ident):
            return 0.0
        due = self.session.next_deadline()
        if ends_at is not None:
            due = min(due, ends_at)
        wait_s = due - time.monotonic()
        return min(wait_s, RETRY_S) if self._connection.congested else wait_s

    def _take_in(self, ready: list[Socket | Waker], now: float) -> None:
        inbox, handle = self._inbox, self.session.handle
        for _ in range(min(len(inbox), TURN_BUDGET)):
            event = inbox.popleft()
            if type(event) is list:
                self._do(self.session.submit(event, now))
            else:
                self._do(handle(event, now))
        for messages in self._connection.read(ready):
            self._do(self.session.handle_envelope(messages, now))
        if self._connection.was_denied(ready):
            self._on_denied(now)
        if now - self._ticked_at > TICK_EVERY_S or now >= self.session.next_deadline():
            self._ticked_at = now
            self._do(handle(Tick(), now))

    def _on_denied(self, now: float) -> None:
        """A client that was welcomed before waits for a while: its own broker may return to this address."""
        if not self.welcomed.is_set():
            self.ending.denied = self._connection.why_denied()
            self.welcomed.set()
            return
        if self._denied_since is None:
            self._denied_since = now
        if now - self._denied_since >= self.session.rules.broker_gone_s:
            self.ending.denied = self._connection.why_denied()
            self._closing = True

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            kind = type(action)
            if kind is Send:
                self._connection.put(action.message)
            elif kind is ce.Welcomed:
                self._denied_since = None
                self.welcomed.set()
            elif kind is Connect:
                self._connection.open()
                if self.when_silent is not None and self._was_opened:
                    self.when_silent()
                self._was_opened = True
            else:
                self._act(action)

    # --- in a forked child ----------------------------------------------------------------------------------

    def _become_copy(self) -> None:
        self._closing = self._is_copy = True


_io_loops: WeakSet[IOLoop] = WeakSet()


def _in_forked_child() -> None:
    for io_loop in list(_io_loops):
        io_loop._become_copy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
