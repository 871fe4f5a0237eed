"""A task queue on Redis that survives ``kill -9`` of a worker.

Simulated: the functions of two workers and a reaper in one process. worker-2 computes the first task; in the
meantime worker-1 is killed before one of its Redis commands, a different one for each seed, and the reaper
may be killed, too. Real: worker-1 is killed while the journal shows that it computes. Judged are the tasks
that were started, by whom and in which order, and the results.
"""

from __future__ import annotations

from collections import Counter
from random import Random, SystemRandom

from labkit.core.errors import N_, LabkitError
from labkit.practice.crew import Crew
from labkit.practice.exercises.ex21_redis_queue.play import result_of
from labkit.practice.learner import Learner
from labkit.practice.redis_server import REHEARSAL_S, redis_of
from labkit.practice.verdict import Finding
from labkit.support.i18n import _

TASKS = 6
RESULTS = "results"
KINDS = {"command": "{text}", "starts": N_("begins {text}"), "killed": N_("is killed (kill -9)")}
LINES, LINES_BEFORE = 10, 4

Start = tuple[str, str]
"""(worker, task)"""


def simulated(learner: Learner, seed: int) -> None:
    """Kill worker-1 before its command number ``seed + 1``."""
    random = Random(f"{seed} queue")
    tasks = _names(random)
    redis = redis_of(learner)
    reaper_kill_at = random.choice((0, 1, 2, 99))
    happened = learner.play(
        "rehearse", redis.url, tasks, seed + 1, reaper_kill_at, limit_s=REHEARSAL_S, known_as="work"
    )
    starts = [(actor, text) for actor, kind, text in happened if kind == "starts"]
    killed = ["worker-1", "killed", ""] in happened
    try:
        _judge(tasks, starts, redis.hash(RESULTS), killed)
    except Finding as finding:
        finding.timeline = _timeline(happened)
        raise


def real(learner: Learner) -> None:
    """Kill a worker process in its second task, while another one is in its first."""
    tasks = _names(SystemRandom())
    redis = redis_of(learner)

    def starts(worker: str = "") -> list[Start]:
        entries = [(entry[1], entry[2]) for entry in redis.journal()]
        return [one for one in entries if worker in ("", one[0])]

    learner.play("enqueue", redis.url, tasks, known_as="enqueue_task")
    with Crew(learner) as crew:
        first, second, third = crew.start("worker-1", "worker-2", "worker-3")
        second.play("work", redis.url, second.name)
        crew.wait(lambda: len(starts(second.name)) == 1, second, LabkitError(N_("worker-2 began a task")))
        first.play("work", redis.url, first.name)
        redis.release(first.name)
        crew.wait(
            lambda: len(starts(first.name)) == 2, first, LabkitError(N_("worker-1 began its second task"))
        )
        first.kill()
        learner.play("reap", redis.url, first.name)
        redis.release(second.name, 2 * TASKS)
        crew.wait_for_end(second, LabkitError(N_("worker-2 has emptied the queue")))
        learner.play("reap", redis.url, second.name)
        redis.release(third.name, 2 * TASKS)
        third.play("work", redis.url, third.name)
        crew.wait_for_end(third, LabkitError(N_("worker-3 has found the queue empty")))
    _judge(tasks, starts(), redis.hash(RESULTS), killed=True)


def _names(random: Random) -> list[str]:
    return [f"photo-{number}" for number in random.sample(range(10, 100), TASKS)]


def _judge(tasks: list[str], starts: list[Start], results: dict[str, str], killed: bool) -> None:
    in_hand = next((task for worker, task in reversed(starts) if worker == "worker-1"), "") if killed else ""
    _judge_results(tasks, starts, results, in_hand)
    times = Counter(task for _worker, task in starts)
    for worker, task in starts:
        if times[task] > 1 and worker == "worker-3":
            raise Finding(
                "left-over",
                N_("{task} has its result, and {worker} computed it again: it was still in a list"),
                expected=N_("a task that has its result is in no list any more"),
                advice=N_("complete_task takes the task out of its worker's list: LREM."),
                task=task,
                worker=worker,
            )
        if times[task] > 1 and task != in_hand:
            raise Finding(
                "doubled",
                N_("{task} was computed {times} times, and no worker was killed while it computed it"),
                expected=N_("only the task in the hands of a killed worker is computed again"),
                advice=N_(
                    "The reaper puts back what is in the dead worker's list: is there more in it than that?"
                ),
                task=task,
                times=times[task],
            )
    _judge_order(tasks, starts)


def _judge_results(tasks: list[str], starts: list[Start], results: dict[str, str], in_hand: str) -> None:
    lost = [task for task in tasks if task not in results]
    if lost:
        held = in_hand in lost
        raise Finding(
            "lost",
            N_("{lost} of {tasks} tasks have no result; worker-1 had {task} when it was killed")
            if held
            else N_("{lost} of {tasks} tasks have no result, among them {task}"),
            expected=N_("every task has a result, whenever a worker is killed"),
            advice=N_("Between two Redis commands a process can die: where is the task at that moment?"),
            lost=len(lost),
            tasks=len(tasks),
            task=in_hand if held else lost[0],
        )
    for task in tasks:
        if results[task] != result_of(task):
            raise Finding(
                "wrong-result",
                N_("the result of {task} is {result!r}"),
                expected=N_("the result of {task} is what compute returned for it: {right!r}"),
                advice=N_("HSET results task result, with the task as get_task returned it."),
                task=task,
                result=results[task],
                right=result_of(task),
            )


def _judge_order(tasks: list[str], starts: list[Start]) -> None:
    """Raise Finding if a worker got a task before one that had waited longer."""
    before: dict[str, str] = {}
    for worker, task in starts:
        former = before.get(worker, task)
        if tasks.index(task) < tasks.index(former):
            raise Finding(
                "order",
                N_("{worker} got {former} before {task}, although {task} was enqueued earlier"),
                expected=N_("the task that was enqueued first comes next, a task that comes back as well"),
                advice=N_("At which end of the list does get_task take? There goes what the reaper returns."),
                worker=worker,
                former=former,
                task=task,
            )
        before[worker] = task


def _timeline(happened: list[list[str]]) -> tuple[str, ...]:
    """Return the lines round the kill of worker-1, or the first ones."""
    kinds = [entry[:2] for entry in happened]
    at = kinds.index(["worker-1", "killed"]) if ["worker-1", "killed"] in kinds else 0
    shown = happened[max(0, at - LINES_BEFORE) :][:LINES]
    return tuple(f"{actor:<9} {_(KINDS[kind]).format(text=text)}" for actor, kind, text in shown)
