"""A broker without sockets for the scheduler's tests: clients, workers, events and a virtual clock."""

from __future__ import annotations

import json
from typing import Any

from labkit.core.broker.inputs import ClientClosed, FromClient, FromWorker, Tick, WorkerClosed
from labkit.core.broker.policies import Policy
from labkit.core.broker.scheduler import Scheduler
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

RULES = Rules()
STEP_S = 0.1
"""How often ``pass_time`` ticks: often enough that the broker does not count as having overslept."""


def an_id(number: int) -> bytes:
    """Return a task's id."""
    return number.to_bytes(16)


class Lab:
    """One scheduler. What it sends is in ``sent`` until ``clear``; its events stay in ``events``."""

    def __init__(self, rules: Rules = RULES, choose: str | Policy = "least_busy") -> None:
        self.now = 100.0
        self.rules = rules
        self.scheduler = Scheduler(rules, b"broker-1", self.now, choose)
        self.sent: list[tuple[str, Any]] = []  # route, message
        self.events: list[Event] = []
        self._hellos = 0

    def _handle(self, event: Any) -> None:
        actions = self.scheduler.handle(event, self.now)
        self.sent += [(str(action.route), action.message) for action in actions]
        self.events += self.scheduler.take_events()

    # --- events ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self._handle(Tick())

    def oversleep(self, seconds: float) -> None:
        """Freeze the broker for so many seconds; nothing arrives before its next tick."""
        self.now += seconds
        self.tick()

    def pass_time(self, seconds: float, *beating: str) -> None:
        """Let time pass, in small ticks; the routes named in ``beating`` send heartbeats."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + STEP_S)
            for route in beating:
                self.deliver(route, m.Heartbeat())
            self.tick()

    def deliver(self, route: str, message: Any) -> None:
        """Deliver a message from a peer; routes of workers begin with w, those of clients with c."""
        self._handle(FromWorker(route, message) if route.startswith("w") else FromClient(route, message))

    def close(self, route: str) -> None:
        self._handle(WorkerClosed(route) if route.startswith("w") else ClientClosed(route))

    def client(self, route: str = "c1", name: str = "") -> str:
        """Let a client say hello; its id is its name, so it may come again by another route."""
        name = name or route
        self.deliver(route, m.ClientHello(name.encode().ljust(16), name))
        return route

    def worker(
        self, route: str = "w1", name: str = "", needs: str = "", slots: int = 1, instance: str = ""
    ) -> str:
        """Let a worker say hello, with a fresh epoch; its process (instance) is its name by default."""
        self._hellos += 1
        epoch = b"epoch%03d" % self._hellos
        name = name or route
        process = (instance or name).encode().ljust(8)
        self.deliver(route, m.WorkerHello(process, epoch, slots, 1, name, needs))
        return route

    def submit(self, number: int = 1, route: str = "c1", tick: bool = True, **fields: Any) -> bytes:
        """Let a client submit task ``number``, and the broker tick."""
        task = an_id(number)
        payload = fields.pop("payload", m.Payload(b"work"))
        plain: dict[str, Any] = {"budget_s": 600.0, "lease_s": 30.0, "job": "job", "needs": ""} | fields
        self.deliver(route, m.Submit(task, **plain, payload=payload))
        if tick:
            self.tick()
        return task

    def start(self, task: bytes, route: str = "w1", attempt: int = 1, confirm: int = 0) -> None:
        self.deliver(route, m.Started(task, attempt, confirm))

    def done(self, task: bytes, route: str = "w1", attempt: int = 1, body: bytes = b"result") -> None:
        self.deliver(route, m.Done(task, attempt, 0.01, m.Payload(body)))
        self.tick()

    def error(self, task: bytes, code: str = "ERROR", route: str = "w1", attempt: int = 1) -> None:
        self.deliver(
            route, m.WorkerError(task, attempt, 0.01, code, "ValueError: no", m.Payload(b"traceback"))
        )
        self.tick()

    # --- results --------------------------------------------------------------------------------------------

    def clear(self) -> None:
        self.sent.clear()

    def got(self, route: str, kind: type) -> list[Any]:
        """Return the messages of one kind sent to a peer since ``clear``, oldest first."""
        return [message for to, message in self.sent if to == route and type(message) is kind]

    def tasks_of(self, route: str) -> list[tuple[bytes, int]]:
        """Return (task, attempt) of all tasks sent to a worker since ``clear``."""
        return [(message.task, message.attempt) for message in self.got(route, m.Task)]

    def outcomes(self, route: str = "c1") -> list[tuple[bytes, str]]:
        """Return (task, RESULT or failure code) of all outcomes sent to a client since ``clear``."""
        return [
            (message.task, getattr(message, "code", "RESULT"))
            for to, message in self.sent
            if to == route and type(message) in (m.Result, m.Failed)
        ]

    def happened(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def causes(self, kind: str) -> list[Any]:
        """Return the cause or reason of each event of this kind."""
        return [event.detail.get("cause", event.detail.get("reason")) for event in self.happened(kind)]

    def status(self) -> dict[str, Any]:
        """Return the broker's status, as a client receives it."""
        self.deliver(self.client("c-status"), m.Query(7))
        (info,) = self.got("c-status", m.Info)[-1:]
        self.deliver("c-status", m.ClientGoodbye())
        status: dict[str, Any] = json.loads(info.json)
        return status

    def status_of(self, worker: str) -> str:
        """Return a worker's status (ready, busy, …) by its name."""
        return next(str(row["status"]) for row in self.status()["workers"] if row["id"] == worker)

    def count(self, counter: str) -> int:
        return int(self.status()["counters"].get(counter, 0))


def a_lab(workers: int = 1, **options: Any) -> Lab:
    """Return a lab with a client at c1 and workers at w1, w2, …, all of them welcomed."""
    lab = Lab(**options)
    lab.client()
    for number in range(1, workers + 1):
        lab.worker(f"w{number}")
    lab.tick()
    lab.clear()
    return lab
