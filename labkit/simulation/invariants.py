"""What must be true of a scheduler's tables after every event, whatever happened before.

Each invariant is a function that yields a sentence for each way in which it is broken; the numbers are those
of the list in docs/reliability.md. Each looks at whole tables, so its cost grows with them: the simulator
calls all of them at short intervals, and after every event in a thorough run. What one event may change is
checked after each event by ``online_checker.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from labkit.core.broker.admission import MAX_LANES
from labkit.core.broker.blame import MAX_SILENT
from labkit.core.broker.records import State
from labkit.core.broker.tables import Tables
from labkit.core.broker.worker_table import MAX_DEPARTED_REMEMBERED, MAX_STALE_ROUTES

_SIZE = attrgetter("size")
Invariant = Callable[[Tables, float], Iterator[str]]


def each_open_task_is_in_exactly_one_place(t: Tables, now: float) -> Iterator[str]:
    """1: an open task is queued, or assigned to one worker, and belongs to one client; sums agree."""
    queued = [task.id for task in t.queue]
    assigned = [task.id for worker in t.workers for task in worker.tasks.values()]
    owned = [task for client in t.clients for task in client.tasks]
    if len(queued) != len(t.queue):
        yield f"the queue counts {len(t.queue)} tasks and holds {len(queued)}"
    if len(queued) + len(assigned) != len(t.tasks) or t.tasks.keys() != {*queued, *assigned}:
        yield f"{len(t.tasks)} open tasks, but {len(queued)} queued and {len(assigned)} assigned"
    if len(owned) != len(t.tasks) or t.tasks.keys() != set(owned):
        yield f"{len(t.tasks)} open tasks, but clients own {len(owned)}"
    open_bytes = sum(client.bytes for client in t.clients)
    if t.clients.open_bytes != open_bytes:
        yield f"{t.clients.open_bytes} open bytes, but clients have {open_bytes}"
    for client in t.clients:
        if client.bytes != sum(map(_SIZE, client.tasks.values())):
            yield f"client {client.name} is charged {client.bytes} bytes, which its tasks do not have"


def each_task_has_at_most_one_current_attempt(t: Tables, now: float) -> Iterator[str]:
    """2: the state of a task says whether it has a worker; earlier attempts have smaller numbers."""
    assigned = State.ASSIGNED  # looked up once: for all tasks, after each event, an enum's member is slow
    for task in t.tasks.values():
        worker = task.worker
        is_assigned = task.state is assigned
        if is_assigned != (worker is not None):
            yield f"task {task.hex} is {task.state.value} and has the worker {worker}"
        if worker is not None and worker.tasks.get(task.id) is not task:
            yield f"task {task.hex} is assigned to {worker.id}, which does not have it"
        if not is_assigned and task.started_at is not None:
            yield f"task {task.hex} is queued and started"
        if task.holders:
            current = task.attempt if is_assigned else task.attempt + 1
            if max(task.holders) >= current:
                yield f"task {task.hex} was taken from {list(task.holders)}, but its attempt is {current}"


def each_worker_is_charged_for_what_it_holds(t: Tables, now: float) -> Iterator[str]:
    """4: in flight is what was assigned and is not answered, never above the most that credit allows."""
    for worker in t.workers:
        if worker.in_flight != len(worker.tasks) + len(worker.revoked):
            held = f"{len(worker.tasks)} tasks and {len(worker.revoked)} revoked ones"
            yield f"{worker.id} has {worker.in_flight} in flight and {held}"
        if worker.in_flight > max(worker.slots + 1, t.rules.max_ahead):
            yield f"{worker.id} holds {worker.in_flight} tasks with {worker.slots} slots"


def only_the_living_are_referred_to(t: Tables, now: float) -> Iterator[str]:
    """5, 7: workers of tasks live and are listed by id and route; lists of those with credit are right."""
    for worker in t.workers:
        if t.workers.get(worker.id) is not worker or t.workers.at(worker.route) is not worker:
            yield f"{worker.id} is not found by its id and its route"
        if (worker.listed is not None) != t.workers.has_credit(worker):
            yield f"{worker.id} is listed as {worker.listed}, with credit: {t.workers.has_credit(worker)}"
        if worker.listed is not None and worker.listed != worker.in_flight:
            yield f"{worker.id} is listed under {worker.listed} and has {worker.in_flight} in flight"
    for assigned in dict.fromkeys(task.worker for task in t.tasks.values()):
        if assigned is not None and t.workers.get(assigned.id) is not assigned:
            yield f"a task is assigned to a former {assigned.id}"
    for owner in dict.fromkeys(task.client for task in t.tasks.values()):
        if t.clients.get(owner.id) is not owner:
            yield f"a task belongs to client {owner.name}, which is not there"
    for client in t.clients:
        if client.route is not None and t.clients.at(client.route) is not client:
            yield f"client {client.name} is not found by its route"
    for worker, _ in t.workers.departed.values():
        if worker.tasks or worker.revoked or worker.in_flight:
            yield f"{worker.id} is gone and still holds {worker.in_flight} tasks"


def no_task_is_blamed_for_more_crashes_than_allowed(t: Tables, now: float) -> Iterator[str]:
    """8: a task that may still run has crashed fewer workers, and hung less often, than the limits.

    One that waits for the verdict on its crashes cannot run.
    """
    for task in t.tasks.values():
        if not task.crashed and not task.hung:
            continue  # nearly all of them
        waits = task.id in t.queue.aside and task.suspect_since is not None
        if (task.crashes >= t.rules.max_crashes and not waits) or task.hangs >= t.rules.max_hangs:
            yield f"task {task.hex} is open after {task.crashes} crashes and {task.hangs} hangs"


def everything_stays_in_bounds(t: Tables, now: float) -> Iterator[str]:
    """9: queues and tables."""
    r = t.rules
    for what, size, limit in (
        ("open tasks", len(t.tasks), r.max_queued_tasks),
        ("open bytes", t.clients.open_bytes, r.max_queued_bytes),
        ("workers", len(t.workers), r.max_workers),
        ("clients", len(t.clients), r.max_clients),
        ("lanes", len(t.queue.lanes), MAX_LANES + len(t.tasks)),
        ("stale routes", len(t.workers.stale), MAX_STALE_ROUTES),
        ("silent workers", len(t.silent), MAX_SILENT),
        ("departed workers", len(t.workers.departed), MAX_DEPARTED_REMEMBERED),
    ):
        if size > limit:
            yield f"{size} {what}, more than {limit}"
    for client in t.clients:
        if len(client.tasks) > r.max_client_tasks or client.bytes > r.max_client_bytes:
            yield f"client {client.name} has {len(client.tasks)} tasks and {client.bytes} bytes open"


def every_open_task_has_a_timer(t: Tables, now: float) -> Iterator[str]:
    """11: nothing can hang."""
    armed = t.deadlines.armed
    for task in t.tasks.values():
        if not armed(task.id, task.tick):
            yield f"task {task.hex} has no deadline armed"


STRUCTURE: tuple[Invariant, ...] = (
    each_open_task_is_in_exactly_one_place,
    each_task_has_at_most_one_current_attempt,
    each_worker_is_charged_for_what_it_holds,
    only_the_living_are_referred_to,
    no_task_is_blamed_for_more_crashes_than_allowed,
    everything_stays_in_bounds,
    every_open_task_has_a_timer,
)


def broken(tables: Tables, now: float) -> list[tuple[str, str]]:
    """Return (invariant, sentence) for everything that is wrong with a scheduler's tables."""
    return [(check.__name__, why) for check in STRUCTURE for why in check(tables, now)]


def fingerprint(tables: Tables) -> tuple[object, ...]:
    """10: return all that garbage must not change: everything but counters and instants of arrival."""
    return (
        [
            (task.id, task.state, task.attempt, task.worker and task.worker.id, task.crashes, task.hangs)
            for task in tables.tasks.values()
        ],
        [task.id for task in tables.queue],
        [(w.id, w.epoch, w.in_flight, w.draining, w.completed, w.route) for w in tables.workers],
        [(c.id, c.route, len(c.tasks), c.bytes) for c in tables.clients],
    )  # fmt: skip
