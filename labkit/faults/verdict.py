"""The claims of a case, each with its measurement, and the verdict that follows. Pure.

A claim that is not met fails its case, unless it is *excused*: a time bound was missed by no more than the
time that the machine took from the cluster's processes, so a faster machine might have met it. A case whose
misses are all excused is inconclusive. Claims about counts (nothing lost, nothing twice) are never excused:
slowness loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(Enum):
    """The result of a case."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Claim:
    """One measurement. ``template`` and ``params`` are its sentence, as in ``LabkitError``."""

    template: str
    params: dict[str, Any]
    met: bool
    excused: bool = False
    wanted: str = ""
    """The bound, where the sentence itself does not contain it: "≤ 2.5 s"."""

    def __str__(self) -> str:
        return self.template.format(**self.params)


@dataclass(frozen=True)
class Result:
    """One case, carried out."""

    name: str
    claims: tuple[Claim, ...]
    seconds: float
    lost_s: float = 0.0
    """How much time the machine took from the case's processes."""
    detection_s: float | None = None
    """From the fault until the cluster detected it; the longest, if there were several."""
    recovery_s: float | None = None
    """From the fault until the interrupted work went on; the longest, if there were several."""
    events: dict[str, int] = field(default_factory=dict)
    """How many events of each kind the history of the case has."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of all claims."""
        return verdict_of(self.claims)


def verdict_of(claims: Sequence[Claim]) -> Verdict:
    """Return the verdict of these claims. Without a claim nothing was shown."""
    if any(not claim.met and not claim.excused for claim in claims):
        return Verdict.FAIL
    if not claims or any(not claim.met for claim in claims):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def verdict_of_all(results: Sequence[Result]) -> Verdict:
    """Return the verdict of a suite: it passes if a case has passed and none has failed."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if Verdict.PASS in verdicts else Verdict.INCONCLUSIVE
