"""Histories for tests, made by a small simulation of its own: known truth, no scheduler.

Each function returns events; every instant in the arguments is seconds after the broker's start, and the
broker's clock begins at ``CLOCK``, so that a test notices an answer that forgot to subtract it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from labkit.core.history import Event

CLOCK = 1000.0


def task_id(number: int) -> str:
    """Return the id of the n-th task, 32 hex digits."""
    return f"{number:032x}"


def run(
    tasks: int = 180,
    workers: int = 3,
    seconds: tuple[float, float] = (0.040, 0.060),
    *,
    kill_at: float | None = None,
    victim: str = "worker-2",
    detected_after: float = 0.02,
    back_after: float | None = 1.0,
    injected: bool = True,
    submit_at: float = 0.5,
    slots: int = 1,
    seed: int = 7,
    stalled: Mapping[str, float] = MappingProxyType({}),
) -> list[Event]:
    """Return one batch on ``workers`` workers; with ``kill_at``, one of them dies and perhaps comes back.

    ``stalled``: how long a worker with a finished task gets no processor, each time.
    """
    random = Random(seed)
    events = [Event(CLOCK, "broker_started", detail={"epoch": "e1", "wall": 1.7e9, "policy": "least_busy"})]
    names = [f"worker-{i + 1}" for i in range(workers)]
    for i, name in enumerate(names):
        detail = {"epoch": f"{i}", "slots": slots, "capabilities": "", "pid": 100 + i}
        events.append(Event(CLOCK + 0.2 + 0.01 * i, "joined", "", 0, name, detail))
    queue = [task_id(i) for i in range(tasks)]
    detail = {"job": "labkit.jobs:process_encoded", "client": "demo", "bytes": 4096, "needs": "edges,sharpen"}
    events += [Event(CLOCK + submit_at, "submitted", task, detail=detail) for task in queue]
    attempts = dict.fromkeys(queue, 0)
    running: dict[str, dict[str, int]] = {name: {} for name in names}  # worker -> task -> attempt
    living = set(names)
    agenda: list[tuple[float, int, str, str, str, int, float]] = []
    order = iter(range(10**9))

    def plan(
        at: float, what: str, worker: str = "", task: str = "", attempt: int = 0, took: float = 0.0
    ) -> None:
        heapq.heappush(agenda, (at, next(order), what, worker, task, attempt, took))

    def hand_out(at: float) -> None:
        while queue:
            free = [name for name in names if name in living and len(running[name]) < slots]
            if not free:
                return
            worker = min(free, key=lambda name: (len(running[name]), name))
            task = queue.pop(0)
            attempts[task] += 1
            running[worker][task] = attempts[task]
            took = random.uniform(*seconds)
            events.append(Event(at, "dispatched", task, attempts[task], worker))
            events.append(Event(at + 0.0005, "started", task, attempts[task], worker))
            plan(at + took + 0.001 + stalled.get(worker, 0.0), "done", worker, task, attempts[task], took)

    plan(CLOCK + submit_at, "go")
    if kill_at is not None:
        plan(CLOCK + kill_at, "kill", victim)
        plan(CLOCK + kill_at + detected_after, "lose", victim)
        if back_after is not None:
            plan(CLOCK + kill_at + back_after, "return", victim)
    dead: set[str] = set()
    at = CLOCK
    while agenda:
        at, _, what, worker, task, attempt, took = heapq.heappop(agenda)
        if what == "done" and worker not in dead and running[worker].get(task) == attempt:
            del running[worker][task]
            events.append(Event(at, "done", task, attempt, worker, {"compute_s": took, "bytes": 4096}))
        elif what == "kill":
            dead.add(worker)
            if injected:
                events.append(Event(at, "fault", detail={"fault": "kill", "target": worker}))
        elif what == "lose":
            living.discard(worker)
            events.append(Event(at, "lost", "", 0, worker, {"cause": "closed"}))
            for held, number in reversed(running[worker].items()):
                queue.insert(0, held)
                events.append(Event(at, "requeued", held, number, worker, {"cause": "lost"}))
            running[worker].clear()
        elif what == "return":
            dead.discard(worker)
            living.add(worker)
            if injected:
                events.append(Event(at - 0.3, "fault", detail={"fault": "start", "target": worker}))
            events.append(Event(at, "joined", "", 0, worker, {"epoch": "again", "slots": slots, "pid": 200}))
        hand_out(at)
    events.append(Event(at + 0.2, "broker_stopped"))
    events.sort(key=lambda event: event.at)
    return events


def demo() -> list[Event]:
    """Return the course's main run: 180 tasks of 40 to 60 ms, three workers, one killed and started again."""
    return run(kill_at=1.5, back_after=0.9)


def note(t: float, kind: str, worker: str = "", task: str = "", attempt: int = 0, **detail: object) -> Event:
    """Return an event, ``t`` seconds after the broker's clock began."""
    return Event(CLOCK + t, kind, task, attempt, worker, detail)


def with_notes(events: list[Event], *notes: Event) -> list[Event]:
    """Return a run in which more happened."""
    return sorted([*events, *notes], key=lambda event: event.at)


def frozen() -> list[Event]:
    """Return a run in which worker-2 freezes, is lost 2.1 s later and wakes up again."""
    events = run(tasks=300, kill_at=1.5, back_after=2.6, detected_after=2.1)
    words = {"kill": "pause", "start": "resume"}
    return [
        e._replace(detail={"fault": words[e.detail["fault"]], "target": "worker-2"})
        if e.kind == "fault"
        else e
        for e in events
    ]


def crowded() -> list[Event]:
    """Return a run with faults so close to one another that their names would touch."""
    return with_notes(
        run(tasks=300, kill_at=1.2, back_after=0.8),
        note(2.5, "fault", fault="pause", target="worker-1"),
        note(2.6, "fault", fault="resume", target="worker-1"),
        note(2.65, "fault", fault="partition", target="worker-3"),
        note(2.75, "fault", fault="heal", target="worker-3"),
        note(3.0, "gap", missing=7),
        note(4.4, "fault", fault="kill", target="redis"),
    )


def strangely_named() -> list[Event]:
    """Return the main run with names that no program expects."""

    def renamed(name: str) -> str:
        return f"the laptop of $Ana$ María_{name}" if name else ""

    return [
        e._replace(
            worker=renamed(e.worker),
            detail={k: renamed(v) if k == "target" else v for k, v in e.detail.items()},
        )
        for e in demo()
    ]
