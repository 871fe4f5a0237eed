"""The fault suite's verdicts: when a case fails or is inconclusive, and the output."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from labkit.core import history as h
from labkit.core.errors import InvalidInput
from labkit.core.history import Event, History
from labkit.faults import machine, suite, table
from labkit.faults.case import Case
from labkit.faults.judge import Judge, NotReached
from labkit.faults.machine import Machine
from labkit.faults.verdict import Claim, Result, Verdict, verdict_of, verdict_of_all
from labkit.faults.workers_die import overtaken
from labkit.support import i18n
from labkit.support.processor_waits import waited_s
from labkit.support.settings import Settings
from tests.tools.command_line import Commands
from tests.tools.waiting import wait_until

MET, MISSED = Claim("met", {}, True), Claim("missed", {}, False)
EXCUSED = Claim("late", {}, False, excused=True)


class SlowMachine(Machine):
    """A machine that always reports the same lost time."""

    def __init__(self, lost_s: float) -> None:
        super().__init__(list)
        self._lost_s = lost_s

    def lost_s(self, since: float | None = None, until: float | None = None) -> float:
        return self._lost_s


# --- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ([MET, MET], Verdict.PASS),
        ([MET, EXCUSED], Verdict.INCONCLUSIVE),
        ([MET, EXCUSED, MISSED], Verdict.FAIL),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_one_missed_claim_fails_and_an_excused_one_is_inconclusive(
    claims: list[Claim], verdict: Verdict
) -> None:
    assert verdict_of(claims) is verdict


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ([MET, MISSED, EXCUSED], Verdict.FAIL),
        ([MET, EXCUSED], Verdict.PASS),
        ([EXCUSED, EXCUSED], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_a_suite_fails_with_one_case_and_passes_only_if_one_has(
    claims: list[Claim], verdict: Verdict
) -> None:
    assert verdict_of_all([Result("a case", (claim,), 1.0) for claim in claims]) is verdict


@pytest.mark.parametrize(
    ("took_s", "lost_s", "verdict"),
    [
        (2.4, 0.0, Verdict.PASS),
        (2.4, 9.0, Verdict.PASS),
        (2.6, 0.0, Verdict.FAIL),
        (2.6, 0.05, Verdict.FAIL),
        (2.6, 0.2, Verdict.INCONCLUSIVE),
    ],
)
def test_bound_is_excused_only_by_the_time_that_the_machine_took(
    took_s: float, lost_s: float, verdict: Verdict
) -> None:
    judge = Judge(SlowMachine(lost_s))
    judge.within("after {seconds}", took_s, 2.5)
    assert verdict_of(judge.claims) is verdict


def test_missed_count_is_never_excused() -> None:
    judge = Judge(SlowMachine(1000.0))
    judge.count("{n} of {wanted}", 99, 100)
    judge.true("it is so", False)
    assert [claim.excused for claim in judge.claims] == [False, False]


@pytest.mark.parametrize(("lost_s", "verdict"), [(0.1, Verdict.FAIL), (4.7, Verdict.INCONCLUSIVE)])
def test_what_only_a_prompt_machine_shows_is_excused_by_a_late_one(lost_s: float, verdict: Verdict) -> None:
    judge = Judge(SlowMachine(lost_s))
    judge.unless_slow("{n} submissions received BUSY", 0, 2.0, 1.0, n=0)
    assert verdict_of(judge.claims) is verdict


@pytest.mark.parametrize(("lost_s", "verdict"), [(0.1, Verdict.FAIL), (4.7, Verdict.INCONCLUSIVE)])
def test_one_attempt_more_is_excused_by_a_machine_that_silenced_the_worker(
    lost_s: float, verdict: Verdict
) -> None:
    judge = Judge(SlowMachine(lost_s))
    judge.count_unless_slow("{n} attempts", 2, 1, 1.5)
    assert verdict_of(judge.claims) is verdict
    judge.count_unless_slow("{n} attempts", 1, 1, 1.5)
    assert judge.claims[-1].met and not judge.claims[-1].excused


@pytest.mark.parametrize(("lost_s", "excused"), [(1.0, False), (20.0, True)])
def test_missing_event_is_excused_only_by_a_busy_machine(lost_s: float, excused: bool) -> None:
    judge = Judge(SlowMachine(lost_s))
    judge.not_reached(NotReached("nothing for {seconds:g} s", seconds=60.0), 60.0)
    assert judge.claims == [Claim("nothing for {seconds:g} s", {"seconds": 60.0}, False, excused)]


def test_the_longest_detection_and_recovery_count() -> None:
    judge = Judge(SlowMachine(0.0))
    for seconds in (0.1, 0.3, None, 0.2):
        judge.detected(seconds)
        judge.recovered(seconds)
    assert (judge.detection_s, judge.recovery_s) == (0.3, 0.3)


# --- the machine --------------------------------------------------------------------------------------------


def test_time_without_a_processor_is_lost_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = {11: 5.0}
    monkeypatch.setattr(machine, "waited_s", lambda pid: dict(waited))
    monkeypatch.setattr("sys.platform", "linux")
    with Machine(lambda: [1]) as here:
        waited[11] += 0.7
        waited[12] = 0.5  # a thread that was not there before
        wait_until(lambda: here.lost_s() >= 1.2, what="the next sample")
        assert here.lost_s(until=here._at[0]) == 0.0
        assert here.lost_s(since=time.monotonic()) < 1.0


def test_ended_process_has_lost_no_time() -> None:
    assert waited_s(2**22 + 1) == {}


# --- what a history shows -----------------------------------------------------------------------------------


def test_requeued_task_that_waits_for_a_new_one_was_overtaken() -> None:
    sent = Event(1, h.DISPATCHED, "a", 1, "worker-1")
    again = [Event(2, h.REQUEUED, "a", 1, "worker-1"), Event(4, h.DISPATCHED, "a", 2, "worker-2")]
    new = Event(3, h.DISPATCHED, "b", 1, "worker-2")
    assert overtaken(History([sent, *again, new])) == 0
    assert overtaken(History([sent, again[0], new, again[1]])) == 1


# --- the suite and what is printed --------------------------------------------------------------------------


def test_names_are_unique_and_each_case_has_a_description() -> None:
    assert len(suite.CASES) >= 23
    for name, case in suite.CASES.items():
        assert name == case.name and case.fault and case.promise and case.try_it.__doc__


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="is kill-storm meant"):
        suite.chosen(["kill-strom"])
    assert [case.name for case in suite.chosen(["freeze", "kill-storm"])] == ["kill-storm", "freeze"]


RESULT = Result(
    "kill-storm",
    (
        Claim("noticed after {seconds}", {"seconds": "0.31 s"}, False, True, "≤ 0.10 s"),
        Claim("{n} of {wanted} done", {"n": 9, "wanted": 10}, False, wanted="= 10"),
        Claim("{n} delivered twice", {"n": 0, "wanted": 0}, True, wanted="= 0"),
    ),
    4.2,
    lost_s=0.5,
    detection_s=0.312,
)


def test_missed_claims_come_first_with_their_bounds() -> None:
    assert table.measured(RESULT) == (
        "MISSED: 9 of 10 done (= 10); not shown: noticed after 0.31 s (≤ 0.10 s); 0 delivered twice; "
        "the machine was elsewhere for 0.50 s"
    )


def test_json_has_every_claim() -> None:
    told = table.as_json([suite.CASES["kill-storm"]], [RESULT])
    assert (told["passed"], told["count"]) == (False, {"pass": 0, "fail": 1, "inconclusive": 0})
    (case,) = told["cases"]
    assert (case["name"], case["verdict"], case["detection_s"]) == ("kill-storm", "fail", 0.312)
    assert [claim["met"] for claim in case["measured"]] == [False, False, True]


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def carried_out(monkeypatch: pytest.MonkeyPatch, *claims: Claim) -> list[str]:
    """Let the suite return these claims for every case without running it; return the names it was given."""
    names: list[str] = []

    def claim(case: Case, _settings: Settings) -> Result:
        names.append(case.name)
        return Result(case.name, claims, 0.1)

    monkeypatch.setattr(suite, "carry_out", claim)
    return names


@pytest.mark.parametrize(("claims", "code"), [([MET], 0), ([EXCUSED], 3), ([MET, MISSED], 1)])
def test_exit_code_follows_the_verdict(
    lab: Commands, monkeypatch: pytest.MonkeyPatch, claims: list[Claim], code: int
) -> None:
    names = carried_out(monkeypatch, *claims)
    said = lab("faults", "--only", "freeze", "flood")
    assert said.code == code and names == ["freeze", "flood"]
    assert "freeze" in said.out and said.err == ""
    assert ("Nothing was shown" in said.out) == (code == 3)
    assert lab("faults", "--only", "freeze", "--json").json()["passed"] == (code == 0)


def test_list_names_all_cases_and_runs_none(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    names = carried_out(monkeypatch)
    said = lab.done("faults", "--list")
    assert len(said.out.splitlines()) == len(suite.CASES) and names == []
    assert set(lab.done("faults", "--list", "--json").json()) == set(suite.CASES)


def test_misspelt_name_is_refused_with_a_suggestion(lab: Commands) -> None:
    assert "is flood meant?" in lab.refused("faults", "--only", "floods", code=2)


def test_suite_is_printed_in_spanish(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out(monkeypatch, *RESULT.claims)
    i18n.set_language("es")
    out = lab("faults", "--only", "kill-storm").out
    for english in ("promise", "measured", "delivered twice", "first in the queue"):
        assert english not in out


def test_a_cluster_that_does_not_come_up_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.core.errors import ClusterError
    from labkit.faults import test_bed

    def no_cluster(*_options: Any) -> Any:
        raise ClusterError("no processes left")

    monkeypatch.setattr(test_bed, "open_cluster", no_cluster)
    result = suite.carry_out(suite.CASES["freeze"], Settings())
    assert result.verdict is Verdict.FAIL
    assert table.measured(result) == "MISSED: the cluster did not come up: no processes left"
    assert not [thread for thread in threading.enumerate() if thread.name == "labkit-machine"]


def test_requested_port_in_use_ends_the_suite_and_is_named(
    lab: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("LABKIT_CLIENT_PORT", str(port))
        assert f"port {port} " in lab.refused("faults", "--only", "freeze", "flood", code=1)
