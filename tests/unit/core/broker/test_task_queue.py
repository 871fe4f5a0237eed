"""The queue's three orders: within a client, among clients, among needs."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.core.broker.records import ClientRecord, OpenTask
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.protocol.messages import EMPTY

ANY: frozenset[str] = frozenset()
BLUR = frozenset({"blur"})
LANES = (ANY, BLUR, frozenset({"blur", "edges"}))

ANN, BEN, CLEO = (ClientRecord(name.encode(), name, name, 0.0) for name in ("ann", "ben", "cleo"))


def a_task(name: str, client: ClientRecord = ANN, needs: frozenset[str] = ANY) -> OpenTask:
    return OpenTask(name.encode(), client, "work", needs, 30.0, 60.0, EMPTY)


def a_queue(*tasks: OpenTask) -> TaskQueue:
    queue = TaskQueue()
    for task in tasks:
        queue.push(task)
    return queue


def popped(queue: TaskQueue, needs: frozenset[str] = ANY, count: int | None = None) -> list[str]:
    """Take ``count`` tasks of a lane, or all of them, and return their names."""
    names: list[str] = []
    while needs in queue.lanes and len(names) != count:
        names.append(queue.pop(needs).id.decode())
    return names


def test_one_clients_tasks_are_first_in_first_out() -> None:
    assert popped(a_queue(*map(a_task, "abc"))) == ["a", "b", "c"]


def test_clients_take_turns_so_that_a_flood_delays_no_other() -> None:
    flood = [a_task(f"flood-{i}") for i in range(3)]
    queue = a_queue(*flood, a_task("mine", BEN), a_task("hers", CLEO))
    assert popped(queue) == ["flood-0", "mine", "hers", "flood-1", "flood-2"]


def test_requeued_task_comes_first_even_before_other_clients() -> None:
    queue = a_queue(a_task("a"), a_task("b", BEN))
    queue.push(a_task("again", CLEO), front=True)
    assert popped(queue) == ["again", "a", "b"]


def test_tasks_requeued_newest_first_keep_their_order() -> None:
    queue = a_queue(a_task("d"))
    for name in "cba":
        queue.push(a_task(name), front=True)
    assert popped(queue) == ["a", "b", "c", "d"]


def test_lane_without_a_worker_does_not_block_another() -> None:
    queue = a_queue(a_task("waits", needs=BLUR), a_task("a"))
    assert popped(queue) == ["a"]
    assert len(queue) == 1


def test_lanes_take_turns() -> None:
    queue = a_queue(a_task("a"), a_task("b"), a_task("x", needs=BLUR))
    queue.pop(ANY)
    assert list(queue.lanes) == [BLUR, ANY]


def test_requeued_tasks_lane_is_next() -> None:
    queue = a_queue(a_task("a"))
    queue.push(a_task("x", needs=BLUR), front=True)
    assert list(queue.lanes) == [BLUR, ANY]


def test_task_can_be_removed_from_the_middle() -> None:
    tasks = [a_task(name) for name in "abc"]
    queue = a_queue(*tasks)
    queue.remove(tasks[1])
    assert len(queue) == 2
    assert popped(queue) == ["a", "c"]


def test_last_task_takes_its_lane_with_it() -> None:
    task = a_task("a", needs=BLUR)
    queue = a_queue(task)
    queue.remove(task)
    assert not queue.lanes
    assert len(queue) == 0


def test_head_is_what_pop_takes() -> None:
    queue = a_queue(a_task("a"), a_task("b", BEN))
    assert queue.head(ANY).id == b"a"
    assert popped(queue, count=1) == ["a"]
    assert queue.head(ANY).id == b"b"


class NaiveQueue:
    """The same orders with lists of lists: slow and obvious."""

    def __init__(self) -> None:
        self.lanes: list[tuple[frozenset[str], list[list[Any]]]] = []

    def lane(self, needs: frozenset[str]) -> list[list[Any]]:
        return next(lane for key, lane in self.lanes if key == needs)

    def push(self, task: OpenTask, front: bool) -> None:
        if all(key != task.needs for key, _ in self.lanes):
            self.lanes.append((task.needs, []))
        lane = self.lane(task.needs)
        turns = [turn for turn in lane if turn[0] is task.client]
        if not turns:
            turns = [[task.client]]
            lane.append(turns[0])
        turns[0].insert(1 if front else len(turns[0]), task)
        if front:
            lane.remove(turns[0])
            lane.insert(0, turns[0])
            self.lanes.sort(key=lambda entry: entry[0] != task.needs)

    def pop(self, needs: frozenset[str]) -> OpenTask:
        lane = self.lane(needs)
        turn = lane.pop(0)
        task: OpenTask = turn.pop(1)
        if len(turn) > 1:
            lane.append(turn)
        self.lanes.sort(key=lambda entry: entry[0] == needs)
        self.lanes = [entry for entry in self.lanes if entry[1]]
        return task

    def remove(self, task: OpenTask) -> None:
        lane = self.lane(task.needs)
        turn = next(turn for turn in lane if turn[0] is task.client)
        turn.remove(task)
        if len(turn) == 1:
            lane.remove(turn)
        self.lanes = [entry for entry in self.lanes if entry[1]]

    def tasks(self) -> list[OpenTask]:
        return [task for _, lane in self.lanes for turn in lane for task in turn[1:]]


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "requeue", "pop", "remove"]),
        st.sampled_from([ANN, BEN, CLEO]),
        st.sampled_from(LANES),
        st.integers(0, 99),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(steps)
def test_queue_agrees_with_a_naive_one(steps: list[tuple[str, ClientRecord, frozenset[str], int]]) -> None:
    queue, naive = TaskQueue(), NaiveQueue()
    for number, (what, client, needs, pick) in enumerate(steps):
        waiting = naive.tasks()
        if what in ("push", "requeue"):
            task = a_task(str(number), client, needs)
            queue.push(task, front=what == "requeue")
            naive.push(task, front=what == "requeue")
        elif what == "pop" and needs in queue.lanes:
            assert queue.head(needs) is naive.pop(needs) is queue.pop(needs)
        elif what == "remove" and waiting:
            task = waiting[pick % len(waiting)]
            queue.remove(task)
            naive.remove(task)
        assert list(queue) == naive.tasks()
        assert list(queue.lanes) == [key for key, _ in naive.lanes]
        assert len(queue) == len(naive.tasks())
