"""What a slow machine causes is never held against the learner: it is inconclusive, or awaited."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from labkit.core import history as h
from labkit.core.history import Event, History
from labkit.core.protocol import messages as m
from labkit.practice import family, learner, pacer
from labkit.practice.exercise import Exercise
from labkit.practice.exercises.ex04_bounded_queue import check as bounded_queue
from labkit.practice.exercises.ex07_process_pool import check as process_pool
from labkit.practice.exercises.ex11_dealer import check as dealer
from labkit.practice.exercises.ex11_dealer import play as dealer_play
from labkit.practice.exercises.ex12_least_busy import check as least_busy
from labkit.practice.exercises.ex25_knee import play as knee
from labkit.practice.learner import Learner
from labkit.practice.pacer import Pacer
from labkit.practice.verdict import Finding, Inconclusive
from labkit.support import processor_waits
from tests.tools.waiting import require, wait_until


def write(exercise: Exercise, root: Any, code: str) -> None:
    (root / "work" / f"{exercise.module}.py").write_text(code, encoding="utf-8")


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which some thread of the check always stands in line for a processor."""
    monkeypatch.setattr(pacer, "LOOK_S", 0.0)
    monkeypatch.setattr(family, "in_line_s", lambda _pid: {1: time.monotonic()})


# --- how slowness is measured -------------------------------------------------------------------------------


def test_a_pacer_counts_what_a_process_that_was_started_stood_in_line() -> None:
    require(sys.platform == "linux", "only Linux counts how long a thread stands in line")
    busy = "import os\nwhile os.getppid() == {}: pass".format
    with Pacer() as here:
        processes = [subprocess.Popen([sys.executable, "-c", busy(_own())]) for _ in range(_processors() + 2)]
        try:
            wait_until(lambda: here.late_s > 0.5, what="a process that stood in line for half a second")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _own() -> int:
    import os

    return os.getpid()


def _processors() -> int:
    import psutil

    return psutil.cpu_count() or 1


def test_a_pacer_adds_up_a_chain_and_leaves_the_past_and_itself_out(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.chain([{1: 5.0, 2: 7.0}], itertools.repeat({1: 6.0, 2: 9.0, 3: 4.0}))
    monkeypatch.setattr(family, "in_line_s", lambda _pid: next(looks))
    with Pacer() as here:
        assert here._thread.native_id is not None
        wait_until(lambda: here.late_s == 7.0, what="a look")
        wait_until(lambda: here._thread.native_id in Pacer._watching, what="the pacer's own thread")
    assert here.late_s == 7.0
    assert here._thread.native_id not in Pacer._watching


def test_time_on_a_slow_disk_counts_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(pacer, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(pacer, "LOOK_S", 100.0)
    monkeypatch.setattr(family, "in_line_s", lambda _pid: {1: 0.5})
    states = iter([True, True, False, True, True])
    monkeypatch.setattr(family, "waits_for_disk", lambda _pid: next(states))
    here = Pacer()
    seen = []
    for clock[0] in (1.0, 2.0, 3.0, 4.0, 5.0):
        here._look()
        seen.append(here.late_s)
    assert seen == [0.5, 1.5, 1.5, 1.5, 2.5]


def test_no_thread_of_this_process_waits_for_a_disk_while_it_asks() -> None:
    assert not processor_waits.waits_for_disk(_own())
    assert not processor_waits.waits_for_disk(2**22 + 1)


# --- calls --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("starved")
def test_a_call_that_could_not_run_is_inconclusive(
    exercise: Exercise, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "PATIENCE", 2)
    write(exercise, root, "import time\ndef double(n):\n    time.sleep(60)\n")
    with Learner(exercise, root) as it, pytest.raises(Inconclusive, match="too busy"):
        it.call("double", 2, limit_s=0.3)


def test_the_same_call_on_an_idle_machine_is_a_finding(
    exercise: Exercise, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "in_line_s", lambda _pid: {1: 1.0})
    monkeypatch.setattr(pacer, "TICK_S", 30.0)
    write(exercise, root, "import time\ndef double(n):\n    time.sleep(60)\n")
    with Learner(exercise, root) as it, pytest.raises(Finding) as caught:
        it.call("double", 2, limit_s=0.3)
    assert caught.value.code == "never-returns"


SHORT_NAP = "import time\ndef double(n):\n    time.sleep(0.02)\n    return 2 * n\n"


@pytest.mark.usefixtures("starved")
def test_many_calls_that_could_not_run_are_not_too_slow(
    exercise: Exercise, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "PATIENCE", 2)
    write(exercise, root, SHORT_NAP)
    with Learner(exercise, root, together_s=0.2) as it, pytest.raises(Inconclusive, match="too busy"):
        for number in itertools.count():
            it.call("double", number, limit_s=0.1)


def test_a_cluster_that_play_py_does_not_reach_is_no_fault_of_the_learners(
    exercise: Exercise, root: Any
) -> None:
    play = (
        "from labkit.core.errors import BrokerUnreachable\n"
        "def run(module):\n    raise BrokerUnreachable('no answer within 5 s')\n"
    )
    (exercise.folder / "play.py").write_text(play, encoding="utf-8")
    write(exercise, root, "def double(n):\n    return 2 * n\n")
    with Learner(exercise, root) as it, pytest.raises(Inconclusive, match="no answer within 5 s"):
        it.play("run")


# --- exercises ----------------------------------------------------------------------------------------------


def history(*events: Event) -> History:
    return History([event._replace(at=float(number)) for number, event in enumerate(events)])


def of_dealer(*kinds: str, cause: str = "") -> History:
    return history(*(Event(0.0, kind, "", 0, dealer.NAME, {"cause": cause}) for kind in kinds))


def test_a_dealers_end_is_awaited_although_nothing_is_written_yet() -> None:
    assert not dealer.ended(of_dealer())
    assert not dealer.ended(of_dealer(h.JOINED))
    assert dealer.ended(of_dealer(h.JOINED, h.LEFT))
    assert dealer.ended(of_dealer(h.JOINED, h.LOST))


def test_a_silent_dealer_is_at_fault_only_if_it_could_run() -> None:
    silent = of_dealer(h.JOINED, h.LOST, cause="silent")
    with pytest.raises(Inconclusive):
        dealer.judge_silence(silent, unheard=False, is_busy=True)
    with pytest.raises(Finding) as caught:
        dealer.judge_silence(silent, unheard=False, is_busy=False)
    assert caught.value.code == "lost"
    with pytest.raises(Inconclusive):
        dealer.judge_silence(of_dealer(h.JOINED, h.LOST, cause="closed"), unheard=True, is_busy=False)
    dealer.judge_silence(of_dealer(h.JOINED, h.LEFT), unheard=False, is_busy=True)


class Line:
    """A socket on which nothing more comes."""

    def poll(self, _ms: int) -> int:
        return 0


def peer(*waiting: Any, sent: tuple[str, ...] = ()) -> Any:
    it: Any = dealer_play.Peer.__new__(dealer_play.Peer)
    it.log = [["sent", kind, ""] for kind in sent]
    it._waiting, it._socket, it.answered = list(waiting), Line(), []
    it._send = it.answered.append
    return it


def test_a_peer_waits_for_heartbeats_and_not_for_seconds() -> None:
    task = m.Task(b"t" * 16, 1, 30.0, False, m.Payload(b"", ()))
    beats = [m.Heartbeat()] * (dealer_play.BEATS - 1)
    it = peer(*beats, task)
    assert it.receive(m.Task) is task
    assert it.answered == beats, "a worker that waits shows that it lives"
    with pytest.raises(TimeoutError, match="10 heartbeats and no Task"):
        peer(*beats, m.Heartbeat(), sent=("WorkerHello",)).receive(m.Task)


def test_a_broker_that_gives_no_sign_is_told_apart_from_one_that_was_not_greeted() -> None:
    with pytest.raises(dealer_play.Unheard):
        peer(sent=("WorkerHello",)).receive(m.WorkerWelcome)
    for sent in ((), ("WorkerHello", "WorkerGoodbye")):
        with pytest.raises(TimeoutError):
            peer(sent=sent).receive(m.WorkerWelcome)


def of_workers(*steps: str) -> History:
    """Return a history of ``worker kind [task]``."""
    events = []
    for step in steps:
        worker, kind, *task = step.split()
        events.append(Event(0.0, kind, task[0] if task else "", 1, worker))
    return history(*events)


CALM = ("a joined", "b joined", "a dispatched 1", "b dispatched 2", "b done 2")


@pytest.mark.parametrize(
    "between",
    [
        ("b suspect",),
        ("b lost",),
        ("b draining",),
        ("b alive", "b suspect"),
        ("b dispatched 3", "b requeued 3"),
    ],
    ids=" ".join,
)
def test_a_worker_that_gets_no_work_is_not_the_least_busy(
    between: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(least_busy, "judge_real_run", lambda _history: None)
    least_busy.judge(of_workers(*CALM, *between, "a dispatched 4"))
    with pytest.raises(Finding) as caught:
        least_busy.judge(of_workers(*CALM, "a dispatched 4"))
    assert caught.value.code == "busier-worker"


def test_a_worker_that_is_heard_again_counts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_busy, "judge_real_run", lambda _history: None)
    with pytest.raises(Finding):
        least_busy.judge(of_workers(*CALM, "b suspect", "b alive", "a dispatched 4"))


class OneDoesAll:
    """A learner whose pool has ``started`` processes, of which one does everything."""

    def __init__(self, started: int) -> None:
        self.started = list(range(100, 100 + started))

    def import_now(self) -> None:
        pass

    def play(self, _function: str, seconds: list[float], **_more: Any) -> list[Any]:
        return [1, self.started, [(10 * one, 100) for one in seconds]]


@pytest.mark.parametrize(("started", "late_s", "is_sure"), [(1, 9.0, True), (2, 9.0, False), (2, 0.0, True)])
def test_a_process_that_gets_no_turn_is_not_missing(
    started: int, late_s: float, is_sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = itertools.count(0.0, late_s)
    monkeypatch.setattr(Pacer, "late_s", property(lambda _self: next(late)))
    with pytest.raises(Finding if is_sure else Inconclusive):
        process_pool.real(OneDoesAll(started))  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["full", "both"])
def test_threads_without_a_turn_are_not_stuck(part: str) -> None:
    record: dict[str, Any] = {"part": part, "entries": [], "error": None, "spins": "", "starved": True}
    with pytest.raises(Inconclusive):
        bounded_queue.judge(record, 2)
    with pytest.raises(Finding):
        bounded_queue.judge({**record, "starved": False}, 2)


def test_a_cluster_that_does_not_end_its_tasks_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_given: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(knee, "simulated_step", step)
    module = ModuleType("ex25_knee")
    module.find_knee = lambda measure, start: measure(start).done  # type: ignore[attr-defined]
    found = knee.simulated(module, 1, [1, 1], 0.01, 10.0)
    assert (found["why"], found["answer"]) == ("not-done", None)
