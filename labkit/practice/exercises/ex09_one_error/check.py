"""One worker's exception: it is reported, and everything else is done.

Simulated: in one thread and in three, with none, one or several inputs that fail. (The same code runs on
processes and on a cluster: the executor is the only thing that changes.)
"""

from __future__ import annotations

from random import Random

from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding


def simulated(learner: Learner, seed: int) -> None:
    """Judge one run."""
    random = Random(f"{seed} errors")
    inputs = random.sample(range(1000), random.randint(4, 12))
    bad = sorted(random.sample(inputs, (1, 0, 2, 3)[seed % 4]))
    engine = random.choice(("sequential", "threads"))
    answer, called = learner.play("run", engine, inputs, bad, known_as="run_all")
    facts = {"inputs": len(inputs), "bad": bad}
    if (
        not isinstance(answer, tuple)
        or len(answer) != 2
        or not all(isinstance(part, dict) for part in answer)
    ):
        raise Finding(
            "wrong-type",
            N_("run_all returned {answer!r}"),
            expected=N_("a pair of dictionaries: results by input, and error texts by input"),
            advice=N_("return results, errors"),
            answer=answer,
        )
    results, errors = answer
    if sorted(called) != sorted(inputs):
        raise Finding(
            "not-each-once",
            N_("the function was called for {called} of {inputs} inputs, or twice for one"),
            expected=N_("it is called once for each input, also after a failure"),
            advice=N_("Submit everything first, then look at each future."),
            called=len(set(called)),
            **facts,
        )
    good = {value: 3 * value for value in inputs if value not in bad}
    if results != good:
        raise Finding(
            "missing-results",
            N_("{have} of {want} results are there and right"),
            expected=N_("every input that does not fail has its result; only {bad} fail"),
            advice=N_("An exception of one future says nothing about the others."),
            have=sum(results.get(value) == right for value, right in good.items()),
            want=len(good),
            **facts,
        )
    if set(errors) != set(bad) or not all(str(value) in str(text) for value, text in errors.items()):
        raise Finding(
            "wrong-errors",
            N_("the errors are {errors}"),
            expected=N_("one text for each input that failed: {bad}"),
            advice=N_("future.exception() returns the exception, or None; str(…) is its text."),
            errors=errors,
            **facts,
        )
