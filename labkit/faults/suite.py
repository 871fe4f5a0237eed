"""The list of all cases, and how one is carried out: each on a fresh cluster of its own."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence

from labkit.core.errors import N_, InvalidInput, LabkitError
from labkit.faults import (
    brokers_die,
    clients_misbehave,
    clusters_end,
    links_fail,
    redis_fails,
    tasks_misbehave,
    workers_die,
)
from labkit.faults.case import Case, cases_of
from labkit.faults.judge import EXCUSED_SHARE, NotReached
from labkit.faults.test_bed import CannotTry, NoCluster, TestBed
from labkit.faults.verdict import Claim, Result
from labkit.support.settings import Settings

FAMILIES = (
    workers_die,
    tasks_misbehave,
    brokers_die,
    redis_fails,
    links_fail,
    clients_misbehave,
    clusters_end,
)
CASES: dict[str, Case] = {case.name: case for family in FAMILIES for case in cases_of(family)}


def chosen(names: Sequence[str]) -> list[Case]:
    """Return the cases of these names in the suite's order; all of them for no names. Raises InvalidInput."""
    for name in names:
        if name not in CASES:
            nearest = difflib.get_close_matches(name, CASES, n=1, cutoff=0.0)[0]
            raise InvalidInput(
                N_(
                    "there is no fault {name!r}; is {nearest} meant? "
                    "python -m labkit faults --list names them"
                ),
                name=name,
                nearest=nearest,
            )
    return [case for case in CASES.values() if not names or case.name in names]


def carry_out(case: Case, settings: Settings) -> Result:
    """Return the result of one case, carried out on a cluster that is closed afterwards.

    A cluster that does not come up counts as a failure: a suite that tried nothing must not pass.
    Raises PortInUse for a port that the environment asks for and that is taken.
    """
    began = time.monotonic()
    try:
        with TestBed(settings, **case.cluster) as bed:
            _try(case, bed, began)
            judge = bed.judge
            events = bed.history.counts()
            lost_s = bed.machine.lost_s()
    except NoCluster as error:
        claim = Claim(error.template, error.params, met=False)
        return Result(case.name, (claim,), time.monotonic() - began)
    return Result(
        case.name,
        tuple(judge.claims),
        time.monotonic() - began,
        lost_s,
        judge.detection_s,
        judge.recovery_s,
        events,
    )


def _try(case: Case, bed: TestBed, began: float) -> None:
    claims = bed.judge.claims
    try:
        case.try_it(bed)
    except NotReached:
        return  # wait_until has added the missed claim
    except CannotTry as error:
        claims.append(Claim(error.template, error.params, met=False, excused=True))
    except (LabkitError, TimeoutError) as error:
        # The cluster did not become ready again, or a client had no answer: the fault was not survived.
        slow = bed.machine.lost_s() >= EXCUSED_SHARE * (time.monotonic() - began)
        claims.append(
            Claim(N_("it ended with {error}"), {"error": f"{type(error).__name__}: {error}"}, False, slow)
        )
