"""The first task: the learner's function sends one call to an executor and returns its number and result.

Simulated: an executor that runs the call at once in the learner's process and numbers it. Real: a cluster of
one worker. Its history shows which tasks arrived; the image is compared with the one that a plain call gives.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.core.errors import N_
from labkit.imaging import photos
from labkit.imaging.filters import Step, parse_steps
from labkit.jobs import process_image
from labkit.practice.clusters import private_cluster, tasks_so_far
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding

SIDE = 96
CALL_S = 10.0


def simulated(learner: Learner, seed: int) -> None:
    """Judge one call on an executor of the learner's process."""
    image, steps = _work(random.Random(seed))
    answer = learner.play("run_here", image, steps, known_as="first_task")
    judge(answer, answer["tasks"], image, steps)


def real(learner: Learner) -> None:
    """Judge one call on a real cluster, by the cluster's history."""
    image, steps = _work(random.Random())
    with private_cluster(learner, 1) as cluster:
        secret = cluster.credentials.secret
        where = cluster.address, secret
        answer = learner.play("run_on_cluster", *where, image, steps, limit_s=CALL_S, known_as="first_task")
        tasks = tasks_so_far(cluster)
    judge(answer, tasks, image, steps)


def _work(chance: random.Random) -> tuple[np.ndarray, list[Step]]:
    """Return a piece of a photograph and one filter, by chance."""
    photo = chance.choice(photos.bundled()).array()
    top, left = (chance.randrange(length - SIDE) for length in photo.shape[:2])
    name, parameter, value = chance.choice(
        [("blur", "radius", 2), ("brightness", "factor", 1.5), ("sharpen", "intensity", 3)]
    )
    piece = np.ascontiguousarray(photo[top : top + SIDE, left : left + SIDE])
    return piece, parse_steps([name], {name: {parameter: value}})


def judge(answer: dict[str, Any], tasks: Sequence[str], image: np.ndarray, steps: Sequence[Step]) -> None:
    """Raise Finding unless ``answer`` is (id, image) of the only task in ``tasks``."""
    _judge_tasks(tasks)
    if not answer["is_pair"]:
        raise Finding(
            "not-a-pair",
            N_("first_task returned one value of the type {kind}"),
            expected=N_("first_task returns two values: the task's id and the image"),
            advice=N_("With a comma, return gives back two values: return a, b."),
            kind=answer["kind"],
        )
    if answer["task"] != tasks[0]:
        raise Finding(
            "wrong-id",
            N_("first_task returned the id {returned}"),
            expected=N_("the id of the task that arrived: {task}"),
            advice=N_("The future that submit returns knows its task: future.task_id."),
            returned=answer["task"] or "''",
            task=tasks[0],
        )
    _judge_image(answer, image, steps)


def _judge_tasks(tasks: Sequence[str]) -> None:
    if not tasks:
        raise Finding(
            "no-task",
            N_("the executor received no task: the image was computed without it"),
            expected=N_("the executor receives one task"),
            advice=N_("Give the function to the executor instead of calling it: executor.submit(…)."),
        )
    if len(tasks) > 1:
        raise Finding(
            "several-tasks",
            N_("the executor received {tasks} tasks"),
            expected=N_("the executor receives one task"),
            advice=N_("Call submit once and keep its future in a variable."),
            tasks=len(tasks),
        )


def _judge_image(answer: dict[str, Any], image: np.ndarray, steps: Sequence[Step]) -> None:
    right = process_image(image, steps)
    got = answer["image"]
    if got is None:
        raise Finding(
            "no-image",
            N_("the second value is of the type {kind}, not an image"),
            expected=N_("the second value is the image that the task returned"),
            advice=N_("A future is a promise of a result; future.result() waits for the result itself."),
            kind=answer["image_kind"],
        )
    if got.shape != right.shape:
        raise Finding(
            "wrong-image",
            N_("the image that came back has the shape {shape}"),
            expected=N_("the image that process_image(image, steps) returns, of the shape {right}"),
            advice=N_("Return the image as the task returned it."),
            shape=got.shape,
            right=right.shape,
        )
    if differing := int(np.count_nonzero(np.any(got != right, axis=-1))):
        raise Finding(
            "wrong-image",
            N_("{differing} of {pixels} pixels differ from the image that {filter} gives"),
            expected=N_("every pixel is that of process_image(image, steps), called directly"),
            advice=N_("submit takes the function, then its arguments in their order: image, steps."),
            differing=differing,
            pixels=right.shape[0] * right.shape[1],
            filter=steps[0][0],
        )
