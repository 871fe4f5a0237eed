"""What a check concludes: pass, fail or inconclusive, with what was expected, what happened and what to try.

``Finding`` is what a checker raises; ``check`` turns it into a Verdict. Sentences are templates with
parameters, like labkit's errors, so that a verdict is shown in the reader's language. A parameter that is
itself a phrase to translate is an error of labkit (``LabkitError(N_("waits"))``). A finding's ``code``
names the broken expectation, the same for every learner: a teacher counts by it, and each planted wrong
solution names the code that must reject it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from labkit.core.errors import LabkitError


class Kind(StrEnum):
    """INCONCLUSIVE: the machine did not allow a judgement; it is never held against the learner."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Finding(LabkitError):
    """The learner's code did not do what the exercise asks for: the sentence is what happened."""

    def __init__(self, code: str, template: str, *, expected: str, advice: str, **params: Any) -> None:
        super().__init__(template, **params)
        self.code = code
        self.expected = expected
        self.advice = advice
        self.learner_lines: tuple[str, ...] = ()
        """Where in the learner's file it happened, innermost last: ``ex01_first_task.py, line 7: …``."""
        self.timeline: tuple[str, ...] = ()
        """The simulated run, as lines of text."""


class Inconclusive(LabkitError):
    """This machine could not show whether the learner's code is right; the sentence names the reason."""


@dataclass(frozen=True)
class Remark:
    """What ``real`` returns if it could judge only a part; the pass shows it."""

    template: str
    params: dict[str, Any]

    def __init__(self, template: str, **params: Any) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "params", params)


@dataclass(frozen=True)
class Verdict:
    """The result of checking one exercise."""

    exercise: str
    kind: Kind
    stage: str = ""
    """"simulated" or "real": the stage that decided; empty if both passed."""
    code: str = ""
    seed: int | None = None
    """The smallest seed that failed."""
    expected: str = ""
    happened: str = ""
    """Of a pass: what was not judged, usually nothing."""
    advice: str = ""
    """These three are English templates for ``params``."""
    params: dict[str, Any] = field(default_factory=dict)
    learner_lines: tuple[str, ...] = ()
    timeline: tuple[str, ...] = ()
    output: str = ""
    """What the learner's code printed, its end."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether both stages passed."""
        return self.kind is Kind.PASS

    def as_json(self) -> dict[str, Any]:
        """Return the verdict with its sentences in English."""
        fields = asdict(self)
        for name in ("expected", "happened", "advice"):
            fields[name] = fields[name].format(**self.params)
        fields["params"] = {name: str(value) for name, value in self.params.items()}
        return fields
