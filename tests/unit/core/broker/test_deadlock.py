"""Tasks that wait for tasks of the same cluster: found when no slot is left, and never otherwise."""

from __future__ import annotations

from labkit.core.broker.deadlock import GRACE, MAX_WAITS
from labkit.core.protocol import messages as m
from tests.tools.scheduling import RULES, Lab, a_lab, an_id

GRACE_S = GRACE * RULES.dead_s + 0.6


class Nest:
    """Workers whose tasks open clients and wait."""

    def __init__(self, workers: int = 2, needs: str = "", slots: int = 1) -> None:
        self.lab: Lab = a_lab(workers=0)
        self.routes = [self.lab.worker(f"w{n + 1}", needs=needs, slots=slots) for n in range(workers)]
        self.clients = ["c1"]
        self.lab.tick()

    def holder(self, task: bytes) -> str:
        worker = self.lab.scheduler.tasks[task].worker
        assert worker is not None
        return str(worker.route)

    def outer(self, number: int, needs: str = "") -> bytes:
        """Start a task of the user's."""
        task = self.lab.submit(number, needs=needs)
        self.lab.start(task, self.holder(task))
        return task

    def inner(self, task: bytes, number: int, needs: str = "", waits: bool = True) -> bytes:
        """Let a running task submit another one, and wait for it."""
        route = self.lab.client(f"c{number}")
        self.clients.append(route)
        child = self.lab.submit(number, route, needs=needs)
        if waits:
            self.waits(task, number, child)
        return child

    def waits(self, task: bytes, number: int, *awaited: bytes, attempt: int = 1) -> None:
        self.lab.deliver(f"c{number}", m.Waits(task, attempt, b"".join(awaited)))

    def wait(self, seconds: float = GRACE_S) -> None:
        self.lab.pass_time(seconds, *self.clients, *self.routes)

    def codes(self) -> dict[bytes, str]:
        return dict(outcome for route in self.clients for outcome in self.lab.outcomes(route))


def test_two_tasks_that_wait_on_two_workers_are_found() -> None:
    nest = Nest(workers=2)
    outers = [nest.outer(n) for n in (1, 2)]
    children = [nest.inner(outer, 11 + n) for n, outer in enumerate(outers)]
    nest.wait(RULES.dead_s)
    assert nest.codes() == {}, "a worker may still join"
    nest.wait()
    assert nest.codes() == dict.fromkeys(children, "DEADLOCK")


def test_one_task_on_one_worker_is_found() -> None:
    nest = Nest(workers=1)
    child = nest.inner(nest.outer(1), 11)
    nest.wait()
    assert nest.codes() == {child: "DEADLOCK"}


def test_a_chain_is_found_at_its_end() -> None:
    nest = Nest(workers=2)
    middle = nest.inner(nest.outer(1), 11)
    nest.lab.start(middle, nest.holder(middle))
    last = nest.inner(middle, 12)
    nest.wait()
    assert nest.codes() == {last: "DEADLOCK"}


def test_slots_of_one_worker_count_each() -> None:
    nest = Nest(workers=1, slots=2)
    child = nest.inner(nest.outer(1), 11)
    nest.wait()
    assert nest.codes() == {}, "one slot is free, or runs the child"
    nest.lab.start(child, "w1")
    grandchild = nest.inner(child, 12)
    nest.wait()
    assert nest.codes() == {grandchild: "DEADLOCK"}


def test_a_worker_that_computes_will_be_free() -> None:
    nest = Nest(workers=2)
    busy, outer = nest.outer(1), nest.outer(2)
    nest.inner(outer, 12)
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}
    nest.lab.done(busy, nest.holder(busy))
    nest.wait(3 * GRACE_S)
    assert "DEADLOCK" not in nest.codes().values()


def test_a_child_behind_a_held_up_worker_goes_to_one_that_is_free() -> None:
    nest = Nest(workers=1)
    outer = nest.outer(1)
    child = nest.inner(outer, 12)
    assert nest.holder(child) == "w1"
    nest.routes.append(nest.lab.worker("w2"))
    nest.wait(1.0)
    assert nest.holder(child) == "w2"
    assert [message.task for message in nest.lab.got("w1", m.Revoke)] == [child]
    nest.lab.deliver("w1", m.Returned(child, 1))
    nest.lab.submit(5)
    nest.wait(1.0)
    assert nest.lab.tasks_of("w1") == [(outer, 1), (child, 1)], "held up: it gets nothing more"
    nest.waits(outer, 12)
    nest.wait(1.0)
    nest.lab.submit(6)
    assert an_id(6) in {task for task, _ in nest.lab.tasks_of("w1")}, "it waits no longer"


def test_a_careful_task_that_waits_holds_up_all_slots_of_its_worker() -> None:
    nest = Nest(workers=2, slots=3)
    outer = nest.outer(1)
    lost = nest.holder(outer)
    nest.lab.close(lost)
    nest.routes.remove(lost)
    nest.wait(RULES.broker_gone_s)
    nest.lab.start(outer, nest.holder(outer), attempt=2)
    child = nest.lab.submit(11, nest.lab.client("c11"))
    nest.clients.append("c11")
    nest.waits(outer, 11, child, attempt=2)
    nest.wait()
    assert nest.codes() == {child: "DEADLOCK"}, "two slots are free, and nothing runs beside a careful task"


def test_a_careful_child_cannot_start_beside_a_task_that_waits() -> None:
    nest = Nest(workers=2, slots=3)
    child = nest.inner(nest.outer(1), 11)
    lost = next(route for route in nest.routes if route == nest.holder(child))
    assert lost == "w2"
    nest.lab.close(lost)
    nest.routes.remove(lost)
    nest.wait(RULES.broker_gone_s + GRACE_S)
    assert nest.codes() == {child: "DEADLOCK"}


def test_a_task_that_does_not_wait_is_no_deadlock() -> None:
    nest = Nest(workers=1)
    nest.inner(nest.outer(1), 11, waits=False)
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}


def test_a_task_that_waits_no_longer_is_no_deadlock() -> None:
    nest = Nest(workers=1)
    outer = nest.outer(1)
    nest.inner(outer, 11)
    nest.wait(RULES.dead_s)
    nest.waits(outer, 11)
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}


def test_waiting_for_the_first_of_several_is_stuck_only_if_all_are() -> None:
    nest = Nest(workers=2)
    outer = nest.outer(1)
    one = nest.inner(outer, 11, waits=False)
    two = nest.inner(outer, 12, waits=False)
    nest.waits(outer, 11, one, two)
    nest.lab.start(one, nest.holder(one))
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}


def test_a_worker_that_joins_in_time_resolves_it() -> None:
    nest = Nest(workers=1)
    child = nest.inner(nest.outer(1), 11)
    nest.wait(RULES.dead_s)
    nest.routes.append(nest.lab.worker("w9"))
    nest.wait(1.0)
    assert nest.codes() == {}
    assert nest.holder(child) == "w9", "taken back from the worker that is held up"


def test_a_worker_that_was_lost_is_about_to_come_back() -> None:
    nest = Nest(workers=2)
    outer = nest.outer(1)
    lost = next(route for route in nest.routes if route != nest.holder(outer))
    nest.routes.remove(lost)
    nest.lab.close(lost)
    nest.inner(outer, 11)
    nest.wait(GRACE_S)
    assert nest.codes() == {}
    nest.wait(RULES.broker_gone_s)
    assert list(nest.codes().values()) == ["DEADLOCK"]


def test_workers_that_cannot_do_the_child_do_not_count() -> None:
    nest = Nest(workers=1, needs="blur")
    nest.routes.append(nest.lab.worker("w9", needs="edges"))
    child = nest.inner(nest.outer(1, "blur"), 11, "blur")
    nest.wait()
    assert nest.codes() == {child: "DEADLOCK"}


def test_a_child_that_no_worker_can_do_is_no_deadlock() -> None:
    nest = Nest(workers=1, needs="blur")
    nest.inner(nest.outer(1, "blur"), 11, "teleport")
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}


def test_what_a_disconnected_client_said_does_not_count() -> None:
    nest = Nest(workers=1)
    nest.inner(nest.outer(1), 11)
    nest.lab.close("c11")
    nest.clients.remove("c11")
    nest.wait()
    assert nest.codes() == {}


def test_waits_of_another_attempt_or_of_unknown_tasks_do_not_count() -> None:
    nest = Nest(workers=1)
    outer = nest.outer(1)
    child = nest.inner(outer, 11, waits=False)
    nest.waits(outer, 11, child, attempt=2)
    nest.waits(an_id(99), 11, child)
    nest.wait(3 * GRACE_S)
    nest.waits(outer, 11, an_id(98))
    nest.wait(3 * GRACE_S)
    assert nest.codes() == {}


def test_waits_are_bounded_and_a_broken_list_is_counted() -> None:
    nest = Nest(workers=1)
    for number in range(3 * MAX_WAITS):
        nest.waits(an_id(1000 + number), 1, an_id(1))
    client = nest.lab.scheduler.clients.at("c1")
    assert client is not None and len(client.waits) == MAX_WAITS
    nest.lab.deliver("c1", m.Waits(an_id(1), 1, b"short"))
    assert nest.lab.count("unexpected_messages") == 1
