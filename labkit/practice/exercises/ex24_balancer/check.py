"""A balancer over several workers' queues: each task to the least busy, and nothing is lost when one dies.

Simulated: tasks are assigned while workers get and complete theirs, also between two Redis commands of the
balancer; a worker dies, and the balancer that takes over its tasks may be killed. What the lists hold before,
during and after each act shows whether the choice was right at some moment of it. Real: three worker
processes, held by the judge in their tasks, so that it is known who holds what; one is killed in its task.
"""

from __future__ import annotations

from collections import Counter
from random import Random, SystemRandom
from typing import Any

from labkit.core.errors import N_, LabkitError
from labkit.practice.crew import Crew, Member
from labkit.practice.exercises.ex24_balancer.play import result_of
from labkit.practice.learner import Learner
from labkit.practice.redis_server import REHEARSAL_S, Redis, redis_of
from labkit.practice.verdict import Finding

WORKERS = ["worker-1", "worker-2", "worker-3"]
TASKS, REAL_TASKS = 18, 8
RESULTS = "results"
LINES = 10

Lists = dict[str, list[list[str]]]
"""By worker: its queue and its hands, the oldest task first."""


def simulated(learner: Learner, seed: int) -> None:
    """Judge one run."""
    tasks = _names(Random(f"{seed} tasks"), TASKS)
    redis = redis_of(learner)
    happened = learner.play(
        "rehearse", redis.url, seed, WORKERS, tasks, limit_s=REHEARSAL_S, known_as="assign"
    )
    for number, (what, about, answer, *facts) in enumerate(happened):
        try:
            if what == "assign":
                _judge_assigned(about, answer, *facts)
            elif what == "take_over":
                _judge_taken_over(about, answer, *facts)
            elif what == "end":
                _judge_end(*facts)
        except Finding as finding:
            finding.timeline = tuple(map(_line, happened[: number + 1][-LINES:]))
            raise
    _judge_results(tasks, redis.hash(RESULTS))


def _line(act: list[Any]) -> str:
    what, about, answer, *facts = act
    if what == "take_over":
        lists = facts[1]
        return f"take_over({about})  " + _loads(lists)
    if what == "end":
        return _loads(facts[0])
    if what == "assign":
        return f"assign({about}) → {answer}  " + _loads(facts[1])
    arrow = "←" if what == "gets" else "✓"
    return f"{about} {arrow} {answer}"


def _loads(lists: Lists) -> str:
    """Return how many tasks each worker has in its queue and in its hands."""
    return "  ".join(f"{worker}: {len(queue)}+{len(hand)}" for worker, (queue, hand) in lists.items())


def _judge_assigned(task: str, answer: Any, moments: list[dict[str, int]], after: Lists) -> None:
    where = [worker for worker, (queue, hand) in after.items() if task in queue + hand]
    if len(where) != 1:
        raise Finding(
            "not-in-a-queue",
            N_("after assign, {task} is in the lists of {count} workers"),
            expected=N_("assign puts the task into one worker's queue"),
            advice=N_("redis.lpush(queue_of(worker), task), once."),
            task=task,
            count=len(where),
        )
    if answer != where[0]:
        raise Finding(
            "wrong-type",
            N_("assign put {task} into the queue of {worker} and returned {answer!r}"),
            expected=N_("assign returns the name of the worker that got the task"),
            advice=N_("Return the name that queue_of was called with."),
            task=task,
            worker=where[0],
            answer=answer,
        )
    if not any(held[answer] == min(held.values()) for held in moments):
        raise _busier(task, answer, moments[0])


def _busier(task: str, worker: str, held: dict[str, int]) -> Finding:
    idle = min(held, key=lambda one: held[one])
    return Finding(
        "busier-worker",
        N_("{task} went to {worker} although it held more tasks than {idle}: {most} and {least}"),
        expected=N_("each task goes to a worker that holds as few as any other"),
        advice=N_(
            "It holds what waits in its queue and what is in its hands: both, at one and the same moment."
        ),
        task=task,
        worker=worker,
        most=held[worker],
        idle=idle,
        least=held[idle],
    )


def _judge_taken_over(dead: str, killed: bool, before: Lists, after: Lists) -> None:
    had = [*before[dead][1], *before[dead][0]]
    others = [worker for worker in after if worker != dead]
    where = Counter(task for worker in others for part in after[worker] for task in part)
    lost = [task for task in had if task not in where]
    if lost or any(after[dead]):
        raise Finding(
            "lost",
            N_("{lost} of the {had} tasks that {dead} held are in no other worker's queue")
            if not killed
            else N_(
                "take_over was killed, then called again: {lost} of {had} tasks of {dead} are in no queue"
            ),
            expected=N_(
                "all tasks of a dead worker go to others: those in its queue and the one in its hands"
            ),
            advice=N_("LMOVE moves a task from one list to another; at no moment it is in neither."),
            dead=dead,
            had=len(had),
            lost=len(lost) or sum(map(len, after[dead])),
        )
    if killed:
        return  # a task may now be there twice, and which of the two calls chose is not known
    for task in had:
        if where[task] > 1:
            raise Finding(
                "doubled",
                N_("{task} is in {times} lists after take_over"),
                expected=N_("a task that is taken over is in one list"),
                advice=N_("LMOVE takes it out of the old list and puts it into the new one."),
                task=task,
                times=where[task],
            )
    held = {worker: sum(map(len, before[worker])) for worker in others}
    _judge_shares(dead, held, {worker: sum(map(len, after[worker])) for worker in others}, len(had))


def _judge_shares(dead: str, before: dict[str, int], after: dict[str, int], tasks: int) -> None:
    """Raise Finding if the tasks were not given one by one to the least busy."""
    fair = sorted(before.values())
    for _ in range(tasks):
        fair[0] += 1
        fair.sort()
    if sorted(after.values()) != fair:
        raise Finding(
            "uneven",
            N_("the others held {before} when {dead} died, and {after} after take_over"),
            expected=N_("its tasks go one by one to who is least busy then: {fair} tasks in the end"),
            advice=N_("Choose a worker anew for each task."),
            dead=dead,
            after=_counts(after),
            before=_counts(before),
            fair=" + ".join(map(str, fair)),
        )


def _judge_end(lists: Lists) -> None:
    left = [task for both in lists.values() for part in both for task in part]
    if left:
        raise Finding(
            "left-over",
            N_("in the end {tasks} tasks are still in the workers' lists, among them {task}"),
            expected=N_("get_task and complete_task empty the lists, and each task passes once through them"),
            advice=N_("Both functions were ready: practice reset brings them back, and keeps your file."),
            tasks=len(left),
            task=left[0],
        )


def _counts(held: dict[str, int]) -> str:
    return ", ".join(f"{worker}: {tasks}" for worker, tasks in held.items())


def _judge_results(tasks: list[str], results: dict[str, str]) -> None:
    for task in tasks:
        if results.get(task) != result_of(task):
            raise Finding(
                "lost",
                N_("{task} has no result, or a wrong one: {result!r}"),
                expected=N_("every task has a result, whenever a worker dies"),
                advice=N_("Where is the task from assign on until complete_task?"),
                task=task,
                result=results.get(task),
            )


# --- real processes -----------------------------------------------------------------------------------------


class _Scene:
    """The workers, who holds what, and the judge's hand on each of them."""

    def __init__(self, learner: Learner, redis: Redis, crew: Crew) -> None:
        self.learner, self.redis, self.crew = learner, redis, crew
        self.members = dict(zip(WORKERS, crew.start(*WORKERS), strict=True))
        self.held: dict[str, list[str]] = {worker: [] for worker in WORKERS}

    def notes(self, what: str, worker: str) -> int:
        """Return how many tasks a worker has begun or ended."""
        return sum(entry[:2] == [what, worker] for entry in self.redis.journal())

    def until(self, what: str, worker: str, tasks: int) -> None:
        """Wait until a worker has begun or ended so many tasks."""
        self.crew.wait(
            lambda: self.notes(what, worker) >= tasks,
            self.members[worker],
            LabkitError(N_("{worker} got and completed its tasks"), worker=worker),
        )

    def assign(self, task: str, workers: list[str]) -> None:
        """Have a task assigned and judge to whom; nobody gets or completes anything meanwhile."""
        answer = self.learner.play("assign", self.redis.url, task, workers)
        held = {worker: len(self.held[worker]) for worker in workers}
        if held.get(answer) != min(held.values()):
            if answer in held:
                raise _busier(task, answer, held)
            raise Finding(
                "wrong-type",
                N_("assign returned {answer!r}"),
                expected=N_("assign returns the name of the worker that got the task"),
                advice=N_("Return the name that queue_of was called with."),
                answer=answer,
            )
        self.held[answer].append(task)
        if len(self.held[answer]) == 1:
            self.until("begins", answer, self.notes("ends", answer) + 1)

    def complete(self, worker: str) -> None:
        """Let a worker complete all that it holds."""
        ended = self.notes("ends", worker) + len(self.held[worker])
        self.redis.release(worker, len(self.held[worker]))
        self.until("ends", worker, ended)
        self.held[worker].clear()

    def lists(self) -> Lists:
        """Return what is in the lists now."""
        return {one: [self.redis.items(f"queue:{one}"), self.redis.items(f"hand:{one}")] for one in WORKERS}


def real(learner: Learner) -> None:
    """Assign, complete, kill a worker in its task, and see that all tasks are computed."""
    tasks = _names(SystemRandom(), REAL_TASKS)
    redis = redis_of(learner)
    with Crew(learner) as crew:
        scene = _Scene(learner, redis, crew)
        for member in scene.members.values():
            member.play("work", redis.url, member.name, known_as="get_task")
        for task in tasks[:6]:
            scene.assign(task, WORKERS)
        scene.complete("worker-3")
        for task in tasks[6:]:
            scene.assign(task, WORKERS)
        dead, *living = WORKERS
        before = scene.lists()
        scene.members[dead].kill()
        learner.play("take_over", redis.url, dead, living)
        _judge_taken_over(dead, False, before, scene.lists())
        _end(scene, [scene.members[one] for one in living], redis)
    _judge_results(tasks, redis.hash(RESULTS))


def _end(scene: _Scene, members: list[Member], redis: Redis) -> None:
    """Let the workers compute all that is left, and end."""
    redis.release("end")
    for member in members:
        redis.release(member.name, 2 * REAL_TASKS)
        scene.crew.wait_for_end(member, LabkitError(N_("each worker has ended")))


def _names(random: Random, tasks: int) -> list[str]:
    return [f"photo-{number}" for number in random.sample(range(10, 100), tasks)]
