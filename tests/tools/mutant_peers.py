"""Workers', clients' and autoscalers' state machines with one rule taken out each (`tests.tools.mutants`)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from typing import Any

from labkit.core.autoscaler import Autoscaler, Load
from labkit.core.peers import client_events as ce
from labkit.core.peers import client_session as cs
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.peers.session import Phase, Send
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol import messages as m

# --- worker -------------------------------------------------------------------------------------------------


class MixesNamesakes(WorkerSession):
    """Runs an attempt although one with the same number, of a former broker, is still in the shell."""

    def _on_message(self, message: m.Message, now: float) -> None:
        if type(message) is m.Task:
            self._runs.pop((message.task, message.attempt), None)
        super()._on_message(message, now)


class FreezeIsComputing(WorkerSession):
    """Counts the time in which its process was frozen against leases."""

    def _overslept(self, slept_s: float, now: float) -> None:
        pass


class SwallowsRevoked(WorkerSession):
    """Drops a revoked task without an answer."""

    def _send(self, message: m.Message, now: float) -> None:
        if type(message) is not m.Returned or self.phase is not Phase.READY:
            super()._send(message, now)


class TakesGapsForFreezes(WorkerSession):
    """Takes the time between two ticks for a freeze, and gives each task that much longer."""

    def _slept_s(self, now: float) -> float:
        since_s, self._last_tick = now - self._last_tick, now
        return since_s if since_s > self._heartbeat_s / 4 else 0.0


class WorkerReadsOneMessage(WorkerSession):
    """Handles only the first message of an envelope."""

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]:
        return super().handle_envelope(islice(messages, 1), now)


class AlwaysBeginsAnew(WorkerSession):
    """Takes every gap in its ticks for a freeze, and drops the task that kept the interpreter lock."""

    def _overslept(self, slept_s: float, awake_since: float) -> None:
        self._was_locked = False
        super()._overslept(slept_s, awake_since)


class NeverAsks(WorkerSession):
    """Does not announce careful tasks, so the evidence of quick crashes is lost with the worker."""

    def _advance(self, now: float) -> None:
        while self._line:
            self._hand_over(self._line.popleft())


# --- client -------------------------------------------------------------------------------------------------


class TwiceToTheUser(cs.ClientSession):
    """Hands out every outcome that arrives, the second one too."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: dict[bytes, ce.Call] = {}

    def _on_message(self, message: m.Message, now: float) -> None:
        if type(message) is m.Result:
            if message.task in self.open:
                self.calls[message.task] = self.open[message.task]
            elif message.task in self.calls:
                self._out.append(ce.Outcome(self.calls[message.task], message))
        super()._on_message(message, now)


class NeverGreetsAgain(cs.ClientSession):
    """Says hello once for each connection and waits for ever."""

    def _greet(self, now: float, connect: bool) -> None:
        if self.phase is Phase.GREETING and self._last_sent:
            self._last_heard = now
        else:
            super()._greet(now, connect)


class NeverResubmits(cs.ClientSession):
    """Never sends a task again after a new welcome."""

    def _on_message(self, message: m.Message, now: float) -> None:
        again = type(message) is m.ClientWelcome and self.broker_epoch
        super()._on_message(message, now)
        if again:
            self._out = [a for a in self._out if type(a) is not Send or type(a.message) is not m.Submit]


class CountsFromZero(cs.ClientSession):
    """Takes a clock that shows less than zero for a time before the first task may be sent."""

    def _pump(self, now: float) -> None:
        if now >= 0.0:
            super()._pump(now)


class ClientReadsOneMessage(cs.ClientSession):
    """Handles only the first message of an envelope."""

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]:
        return super().handle_envelope(islice(messages, 1), now)


# --- autoscaler ---------------------------------------------------------------------------------------------


class KnowsNoBounds(Autoscaler):
    """Ignores the least and the most number of workers."""

    def _bounded(self, size: int) -> int:
        return size


class Flaps(Autoscaler):
    """Shrinks as quickly as it grows."""

    def _next_size(self, load: Load, now: float) -> int:
        return self._wanted[-1][1]


# --- the look at a worker's process -------------------------------------------------------------------------


class OpenTasksAreWaitedFor(QuietProcess):
    """Takes a task that has submitted others for one that waits for them, though it computes."""

    @staticmethod
    def _wait(threads: Mapping[int, Hashable | None]) -> bool:
        return True


class OneWaitIsEnough(QuietProcess):
    """Takes a process for quiet as soon as one of its threads waits."""

    @staticmethod
    def _wait(threads: Mapping[int, Hashable | None]) -> bool:
        return any(threads.values())


class NeverLooksAtThreads(QuietProcess):
    """Reports no wait that only the process shows."""

    def look(self, *_: Any) -> list[ce.WaitsNow]:
        return []
