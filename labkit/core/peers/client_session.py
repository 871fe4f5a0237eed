"""The client's side of the protocol, without a socket, a clock or a thread.

::

    (start)  -> greeting  start (connect, hello)
    greeting -> greeting  no answer (connect, hello)
    greeting -> ready     welcome (submit all open tasks)
    ready    -> ready     welcome again (submit all open tasks)
    ready    -> greeting  stale, broker silent, or tasks not acknowledged (hello)
    greeting -> over      closed
    ready    -> over      closed (goodbye)

Rules:

* A task's payload is kept until its outcome arrives. After every welcome all open tasks are submitted again
  under their own ids; a broker that still has them only acknowledges them. So neither a broken connection nor
  a dead broker loses a task.
* The first outcome of a task is handed out; any later one is counted and dropped.
* Tasks beyond the quota that the broker grants wait here, in order. A refusal (BUSY) shrinks the window to
  what the broker did accept, and every outcome lets it grow by one: the client slows down by itself.
* A deadline is armed here too, a little later than the broker's, in case there is no broker any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from labkit.core.deadlines import Deadlines
from labkit.core.peers.client_events import (
    Action,
    Answer,
    Ask,
    Call,
    CancelAnswer,
    CancelAsked,
    ClientTables,
    CloseAsked,
    Event,
    ForgetAsked,
    NowRunning,
    Outcome,
    SubmitAsked,
    WaitsNow,
    Welcomed,
)
from labkit.core.peers.session import Phase, Session, Tick
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.core.transitions import START, Transitions

TRANSITIONS: Transitions = {
    (START, "greeting"): "start (connect, hello)",
    ("greeting", "greeting"): "no answer (connect, hello)",
    ("greeting", "ready"): "welcome (submit all open tasks)",
    ("ready", "ready"): "welcome again (submit all open tasks)",
    ("ready", "greeting"): "stale, broker silent, or tasks not acknowledged (hello)",
    ("greeting", "over"): "closed",
    ("ready", "over"): "closed (goodbye)",
}


class ClientSession(Session[Event, Action]):
    """See the module's head. ``client`` is 16 random bytes, the same for the client's whole life."""

    TRANSITIONS = TRANSITIONS

    def __init__(self, client: bytes, name: str, rules: Rules) -> None:
        super().__init__(rules)
        self.client = client
        self.name = name
        self.open: dict[bytes, Call] = {}
        self._waiting: OrderedDict[bytes, None] = OrderedDict()  # open, and not with the broker
        # With the broker, not acknowledged: when each was sent.
        self._sent: OrderedDict[bytes, float] = OrderedDict()
        self._accepted: set[bytes] = set()
        self._out_bytes = 0
        self._quota_tasks = rules.max_client_tasks
        self._quota_bytes = rules.max_client_bytes
        self._window = self._quota_tasks
        self._hold_until = float("-inf")
        self._questions: dict[int, m.Note | m.Query] = {}
        self._cancelling: dict[bytes, None] = {}  # an ordered set
        self._waits: dict[bytes, WaitsNow] = {}  # by the task that waits
        self._deadlines = Deadlines()
        self._ticks: dict[bytes, int] = {}
        self.duplicates = 0
        self.refusals = 0

    def submit(self, calls: Iterable[Call], now: float) -> list[Action]:
        """Do what ``handle`` does for ``SubmitAsked`` with each of many calls."""
        if self.phase is not Phase.OVER:
            for call in calls:
                self._add(call)
            self._pump(now)
        return self._take()

    def tables(self) -> ClientTables:
        """Return a read-only view of where each open task is, for checkers."""
        return ClientTables(self._waiting.keys(), self._sent.keys(), self._accepted)

    def next_deadline(self) -> float:
        """Return the instant at which a ``Tick`` is due even if nothing happens."""
        due = self._due()
        if self.phase is Phase.READY and self._waiting and self._hold_until > self._last_tick:
            due = min(due, self._hold_until)
        task = self._deadlines.next_deadline()
        return due if task is None else min(due, task)

    # --- connection -----------------------------------------------------------------------------------------

    def _greet(self, now: float, connect: bool) -> None:
        self._say_hello(m.ClientHello(self.client, self.name), now, connect)

    def _on_welcome(self, welcome: m.ClientWelcome, now: float) -> None:
        new_broker = bool(self.broker_epoch) and welcome.epoch != self.broker_epoch
        self._enter(Phase.READY)
        self.broker_epoch = welcome.epoch
        self._heartbeat_s = welcome.heartbeat_s
        self._patience_s = welcome.patience_s
        self._quota_tasks = self._window = max(1, welcome.max_tasks)
        self._quota_bytes = welcome.max_bytes
        self._hold_until = float("-inf")
        self._waiting = OrderedDict.fromkeys(self.open)  # in order of submission
        self._sent.clear()
        self._accepted.clear()
        self._out_bytes = 0
        self._out.append(Welcomed(new_broker))
        for question in self._questions.values():
            self._send(question, now)
        self._pump(now)
        # After the tasks: a new broker must have a task before its cancellation.
        for task in self._cancelling:
            self._send(m.Cancel(task), now)
        for waits in self._waits.values():
            self._tell(waits, now)

    def _on_stale(self, _: m.Stale, now: float) -> None:
        if self.phase is Phase.READY:
            self._greet(now, connect=False)

    # --- tasks ----------------------------------------------------------------------------------------------

    def _on_submit(self, event: SubmitAsked, now: float) -> None:
        self._add(event.call)
        self._pump(now)

    def _add(self, call: Call) -> None:
        self.open[call.task] = call
        self._ticks[call.task] = self._deadlines.arm(call.task, call.deadline + self.rules.dead_s)
        self._waiting[call.task] = None

    def _pump(self, now: float) -> None:
        """Send the waiting tasks that window and quota allow."""
        if self.phase is not Phase.READY or now < self._hold_until:
            return
        while self._waiting and len(self._sent) + len(self._accepted) < self._window:
            call = self.open[next(iter(self._waiting))]
            alone = not self._sent and not self._accepted
            if self._out_bytes + call.size > self._quota_bytes and not alone:
                return
            del self._waiting[call.task]
            self._sent[call.task] = now
            self._out_bytes += call.size
            if call.size > m.BULK_BYTES:
                self._send(m.Bulk(call.size), now)
            budget_s = max(0.001, call.deadline - now)
            fields = (call.task, budget_s, call.lease_s, call.job, call.needs, call.payload)
            self._send(m.new(m.Submit, fields), now)

    def _on_accepted(self, accepted: m.Accepted, now: float) -> None:
        for task in m.task_ids(accepted.tasks):
            if self._sent.pop(task, None) is not None:
                self._accepted.add(task)

    def _on_refused(self, refused: m.Refused, now: float) -> None:
        back = [task for task in m.task_ids(refused.tasks) if self._sent.pop(task, None) is not None]
        self.refusals += len(back)
        for task in reversed(back):
            self._out_bytes -= self.open[task].size
            self._waiting[task] = None
            self._waiting.move_to_end(task, last=False)
        self._window = max(1, len(self._accepted))
        self._hold_until = now + refused.retry_after_s

    def _on_running(self, running: m.Running, now: float) -> None:
        if running.task in self.open:
            self._out.append(NowRunning(running.task, running.worker))

    def _on_outcome(self, message: m.Result | m.Failed, now: float) -> None:
        call = self.open.get(message.task)
        if call is None:
            self.duplicates += 1
            return
        self._close_call(call)
        self._out.append(m.new(Outcome, (call, message)))
        if call.task in self._cancelling:
            del self._cancelling[call.task]
            self._out.append(CancelAnswer(call.task, False))
        self._pump(now)

    def _close_call(self, call: Call) -> None:
        del self.open[call.task]
        self._deadlines.disarm(call.task, self._ticks.pop(call.task))
        if self._sent.pop(call.task, None) is not None or call.task in self._accepted:
            self._accepted.discard(call.task)
            self._out_bytes -= call.size
            self._window = min(self._quota_tasks, self._window + 1)
        else:
            del self._waiting[call.task]

    def _on_cancel(self, event: CancelAsked, now: float) -> None:
        task = event.task
        call = self.open.get(task)
        if call is None:
            self._out.append(CancelAnswer(task, False))
        elif task in self._sent or task in self._accepted:
            self._cancelling[task] = None
            if self.phase is Phase.READY:
                self._send(m.Cancel(task), now)
        else:  # it was never sent, or the broker that had it is gone
            self._close_call(call)
            self._out.append(CancelAnswer(task, True))

    def _on_cancel_reply(self, reply: m.CancelReply, now: float) -> None:
        if reply.task not in self._cancelling:
            return
        del self._cancelling[reply.task]
        call = self.open.get(reply.task)
        done = bool(reply.done) or reply.task in self._waiting  # waiting: no broker has it
        if done and call is not None:
            self._close_call(call)
        self._out.append(CancelAnswer(reply.task, done))
        self._pump(now)

    # --- questions ------------------------------------------------------------------------------------------

    def _on_ask(self, event: Ask, now: float) -> None:
        self._questions[event.message.number] = event.message
        if self.phase is Phase.READY:
            self._send(event.message, now)

    def _on_waits(self, waits: WaitsNow, now: float) -> None:
        if waits.awaited:
            self._waits[waits.task] = waits
        else:
            self._waits.pop(waits.task, None)
        if self.phase is Phase.READY:
            self._tell(waits, now)

    def _tell(self, waits: WaitsNow, now: float) -> None:
        self._send(m.Waits(waits.task, waits.attempt, b"".join(waits.awaited)), now)

    def _on_forget(self, event: ForgetAsked, now: float) -> None:
        self._questions.pop(event.number, None)

    def _on_answer(self, message: m.Noted | m.Info, now: float) -> None:
        if self._questions.pop(message.number, None) is not None:
            self._out.append(Answer(message))

    def _on_close(self, _: CloseAsked, now: float) -> None:
        if self.phase is Phase.READY:
            self._send(m.ClientGoodbye(), now)
        self._enter(Phase.OVER)

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, _: Tick, now: float) -> None:
        self._slept_s(now)
        for task in self._deadlines.expire(now):
            self._on_outcome(
                m.Failed(task, 0, "DEADLINE", "", "no broker reported on it in time", m.EMPTY), now
            )
        if self._is_broker_gone(now):
            self._greet(now, connect=True)
        elif self.phase is Phase.READY:
            if self._unacknowledged_for_long(now):
                self._greet(now, connect=True)
            else:
                self._pump(now)
                self._beat(now)

    def _unacknowledged_for_long(self, now: float) -> bool:
        """Return whether an acknowledgement is overdue although the broker sends heartbeats."""
        if not self._sent:
            return False
        patience_s = self._patience_s + self._out_bytes / self.rules.slow_link_bytes_per_s
        return now - next(iter(self._sent.values())) >= patience_s

    # --- handlers -------------------------------------------------------------------------------------------

    _handlers = {
        **Session._handlers,
        SubmitAsked: _on_submit,
        CancelAsked: _on_cancel,
        WaitsNow: _on_waits,
        Ask: _on_ask,
        ForgetAsked: _on_forget,
        CloseAsked: _on_close,
        Tick: _on_tick,
    }

    _message_handlers = {
        **Session._message_handlers,
        m.ClientWelcome: _on_welcome,
        m.Stale: _on_stale,
        m.Accepted: _on_accepted,
        m.Refused: _on_refused,
        m.Running: _on_running,
        m.Result: _on_outcome,
        m.Failed: _on_outcome,
        m.CancelReply: _on_cancel_reply,
        m.Noted: _on_answer,
        m.Info: _on_answer,
    }
