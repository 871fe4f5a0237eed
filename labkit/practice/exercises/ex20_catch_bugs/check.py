"""A test that catches bugs, and a CI job that runs it.

Simulated, in so far as nothing starts: the learner's test is given right and wrong implementations of
exercise 14, in a different order for each seed. The job is read, not run.
"""

from __future__ import annotations

from random import Random

import yaml

from labkit.core.errors import N_
from labkit.practice.exercises.ex20_catch_bugs.play import RIGHT, WRONG
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding

CAUGHT = 4
"""Of five."""


def simulated(learner: Learner, seed: int) -> None:
    """Judge the test, then the job."""
    names = [*RIGHT, *WRONG]
    Random(f"{seed} order").shuffle(names)
    said = {name: learner.play("judge", name, known_as="is_right") for name in names}
    if odd := {name: answer for name, answer in said.items() if not isinstance(answer, bool)}:
        name, answer = odd.popitem()
        raise Finding(
            "wrong-type",
            N_("is_right returned {answer!r}"),
            expected=N_("is_right returns True or False"),
            advice=N_("A comparison is True or False; a missing return is None."),
            answer=answer,
        )
    if alarms := [name for name in RIGHT if not said[name]]:
        raise Finding(
            "false-alarm",
            N_("your test rejects {alarms} of {right} right implementations"),
            expected=N_("a right implementation passes, however it is written"),
            advice=N_("Judge what is returned: all of held, then all of waiting."),
            alarms=len(alarms),
            right=len(RIGHT),
        )
    caught = sum(not said[name] for name in WRONG)
    if caught < CAUGHT:
        raise Finding(
            "not-caught",
            N_("your test catches {caught} of {wrong} wrong implementations"),
            expected=N_("it catches at least {least}"),
            advice=N_(
                "Try more inputs: several tasks in both lists, not in alphabetical order, and empty lists."
            ),
            caught=caught,
            wrong=len(WRONG),
            least=CAUGHT,
        )
    _judge_job(learner.play("ci_job", known_as="CI_JOB"))


def _judge_job(text: object) -> None:
    try:
        job = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError as error:
        raise _no_job(N_("CI_JOB is not YAML: {error}"), error=str(error).replace("\n", " ")) from None
    jobs = job.get("jobs") if isinstance(job, dict) else None
    if not isinstance(jobs, dict) or not jobs:
        raise _no_job(N_("CI_JOB has no jobs"))
    assert isinstance(job, dict)
    if "on" not in job and True not in job:  # YAML 1.1 reads the key on as True
        raise _no_job(N_("CI_JOB does not say when it runs: on is missing"))
    steps = [step for one in jobs.values() if isinstance(one, dict) for step in one.get("steps") or []]
    runs = [str(step.get("run", "")) for step in steps if isinstance(step, dict)]
    if not any("practice check" in run or "pytest" in run for run in runs):
        raise _no_job(N_("no step of CI_JOB runs the test"))
    if not all(isinstance(one, dict) and one.get("runs-on") for one in jobs.values()):
        raise _no_job(N_("a job of CI_JOB does not say where it runs: runs-on is missing"))


def _no_job(template: str, **params: object) -> Finding:
    return Finding(
        "no-job",
        template,
        expected=N_("a workflow with on, jobs, runs-on and steps, one of which runs practice check"),
        advice=N_("The third hint shows the shape of a workflow."),
        **params,
    )
