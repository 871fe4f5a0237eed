"""The helpers of day 3 on real clusters: following work, sending messages by hand, the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labkit.classroom import Lesson, by_hand, containers, stall_watch, work
from labkit.classroom.effects import effects_of_a_kill
from labkit.classroom.raw_peer import NotReceived, Transcript
from labkit.classroom.registry import ForeignRedis, Registry
from labkit.classroom.slowed import slowed
from labkit.classroom.stall_watch import LessonStalled
from labkit.classroom.story import story
from labkit.classroom.work import Work, send
from labkit.cli import doctor_checks, doctor_findings
from labkit.cluster import Cluster, open_cluster, ports
from labkit.cluster.compose import images
from labkit.core.errors import BrokerUnreachable, ClusterError, ClusterNotRunning
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.jobs import add, fail
from labkit.mirror.server import find_binary
from labkit.panel.feed import Feed
from labkit.support.i18n import set_language, translate_error
from labkit.support.settings import Settings
from tests.tools.redis_server import RedisServer
from tests.tools.waiting import require, wait_until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with open_cluster(workers=2, redis=False) as cluster:
        yield cluster


@pytest.fixture
def empty() -> Iterator[Cluster]:
    with open_cluster(workers=0, redis=False) as cluster:
        yield cluster


# --- work ---------------------------------------------------------------------------------------------------


def test_history_of_a_work_contains_only_its_own_tasks(cluster: Cluster) -> None:
    cluster.kill("worker-1")
    cluster.start("worker-1")
    cluster.wait_until_ready()
    with cluster.client("another client") as other:
        strange = other.submit(add, 1, 2)
        ours = send(cluster, 6 * [0.01])
        assert strange.result(10) == 3
        history = ours.finish()
    assert len(history.ledger()) == 6 and history.faults() == [] and history.recoveries() == []
    assert set(history.share()) == {"worker-1", "worker-2"} and history.check() == []


def test_worker_seen_computing_holds_its_task_when_killed(cluster: Cluster) -> None:
    ours = send(cluster, 8 * [0.3])
    task = ours.until_computing("worker-2")
    cluster.kill("worker-2")
    assert ours.until_seen("lost", "worker-2") > 0
    cluster.start("worker-2")
    history = ours.finish()
    (chain,) = history.recoveries()
    assert task in chain.held and (chain.fault, chain.target) == ("kill", "worker-2")


def test_work_with_a_task_meant_to_fail_ends_with_its_outcome(cluster: Cluster) -> None:
    ours = Work(cluster)
    future = ours.submit(fail)
    assert ours.end().ledger()[0].outcome == "failed"
    assert isinstance(future.exception(), Exception)


def test_awaited_event_is_named_in_the_lessons_language(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.2)
    ours = send(cluster, [0.01])
    with pytest.raises(LessonStalled, match="for worker-9 to compute") as caught:
        ours.until_computing("worker-9")
    set_language("es")
    assert translate_error(caught.value) == (
        "se esperó en vano, durante 0 s, a que worker-9 calculara; ¿está muy ocupada esta máquina?"
    )
    monkeypatch.undo()
    ours.finish()


@pytest.mark.parametrize(("fault", "recovery"), [("kill", "start"), ("pause", "resume")])
def test_stopped_worker_is_not_waited_for(cluster: Cluster, fault: str, recovery: str) -> None:
    getattr(cluster, fault)("worker-2")
    ours = send(cluster, [0.01])
    with pytest.raises(LessonStalled, match="worker-2 is down or frozen.*then run this cell again"):
        ours.until_computing("worker-2")
    getattr(cluster, recovery)("worker-2")
    ours.finish()


@pytest.mark.parametrize(
    ("fault", "recovery", "state"), [("kill", "start", "down"), ("pause", "resume", "frozen")]
)
def test_missing_broker_is_reported_quickly_with_the_recovery_command(
    cluster: Cluster, fault: str, recovery: str, state: str
) -> None:
    ours = send(cluster, 2 * [0.3])
    getattr(cluster, fault)("broker")
    began = time.monotonic()
    with pytest.raises(
        LessonStalled, match=f"does not answer, because it is {state}.*cluster.{recovery}..broker"
    ):
        ours.until_done(1.0)
    with pytest.raises(LessonStalled, match="does not answer"):
        ours.finish()
    with Transcript(cluster).client("me") as me, pytest.raises(LessonStalled, match=state):
        me.receive(m.ClientWelcome)
    with pytest.raises(BrokerUnreachable, match=f"cluster.{recovery}..broker"):
        cluster.client("another", 0.1)
    assert time.monotonic() - began < work.PATIENCE_S / 2
    getattr(cluster, recovery)("broker")
    cluster.wait_until_ready()  # on a busy machine it may take longer than a lesson's patience
    ours.finish()


def test_silent_broker_is_reported(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall_watch, "SILENT_S", 0.3)
    monkeypatch.setattr(stall_watch, "LOOK_S", 0.1)
    ours = send(cluster, [0.01])
    ours.until_done(1.0)
    broker = next(row["pid"] for row in cluster.status()["processes"] if row["kind"] == "broker")
    psutil.Process(broker).suspend()
    with pytest.raises(LessonStalled, match="the broker has not answered for .* s"):
        ours.until_computing("worker-1")
    psutil.Process(broker).resume()
    ours.finish()


def test_wait_ends_at_once_when_every_worker_is_out(cluster: Cluster) -> None:
    cluster.kill("worker-1")
    cluster.pause("worker-2")
    ours = send(cluster, [0.01])
    with pytest.raises(LessonStalled, match="every worker is down or frozen"):
        ours.finish()
    cluster.start("worker-1")
    ours.finish()


# --- a lesson's clusters ------------------------------------------------------------------------------------


def test_cluster_cell_run_twice_leaves_one_cluster_and_one_panel() -> None:
    lesson = Lesson()
    first = lesson.open("cluster", open_cluster, workers=1, redis=False)
    panel = first.panel(live=True)
    panel._repr_mimebundle_()
    processes = [psutil.Process(row["pid"]) for row in first.status()["processes"]]
    second = lesson.open("cluster", open_cluster, workers=1, redis=False)
    assert not any(process.is_running() for process in processes) and not first.folder.exists()
    assert panel._board is not None and "has been closed" in panel._board._beat.value
    second.close()
    lesson.end()


# --- conversation -------------------------------------------------------------------------------------------


def test_client_by_hand_is_served_and_every_envelope_is_recorded(
    cluster: Cluster,
) -> None:
    transcript = Transcript(cluster)
    with transcript.client("me") as me:
        me.send(m.ClientHello(me.id, me.name))
        me.receive(m.ClientWelcome)
        me.send(me.submission(add, 1, 2))
        assert me.value(me.receive(m.Result)) == 3
        me.send(m.ClientGoodbye())
    kinds = [type(message).__name__ for line in transcript.lines for message in line.messages]
    assert [kind for kind in kinds if kind != "Accepted"] == [
        "ClientHello",
        "ClientWelcome",
        "Submit",
        "Result",
        "ClientGoodbye",
    ]
    assert all(
        wire.decode(line.envelope) == list(line.messages) for line in transcript.lines if not line.frames
    )
    assert len(transcript.table().rows) == len(kinds) and "payload=add(1, 2)" in str(transcript)
    assert transcript.size == sum(len(line.envelope) for line in transcript.lines), (
        "no large frames in this one"
    )
    shown = transcript._repr_html_()
    assert shown.count("<tr") == 1 + len(transcript.lines) and "DEALER → ROUTER" in shown


def test_anatomy_of_an_envelope_covers_all_its_bytes(cluster: Cluster) -> None:
    transcript = Transcript(cluster)
    with transcript.client() as me:
        me.send(m.ClientHello(me.id, me.name), m.Heartbeat())
        me.receive(m.ClientWelcome)
        me.send(m.ClientGoodbye())
    rows = transcript.anatomy(m.Heartbeat).rows
    envelope = transcript.lines[0].envelope
    for offset, shown, _meaning in rows:
        part = bytes.fromhex(str(shown).removesuffix(" …"))
        assert envelope[int(str(offset)) :].startswith(part)
    assert [row[2] for row in rows if "kind" in str(row[2])] == ["kind: ClientHello", "kind: Heartbeat"]
    with pytest.raises(NotReceived, match="no Task"):
        transcript.anatomy(m.Task)


def test_answer_of_a_worker_by_hand_is_the_result(empty: Cluster) -> None:
    question = Work(empty)
    future = question.submit(add, 20, 22)
    transcript = Transcript(empty)
    with transcript.worker("by-hand") as me:
        me.send(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
        me.receive(m.WorkerWelcome)
        task = me.receive(m.Task)
        me.send(m.Started(task.task, task.attempt, 0))
        me.send(m.Done(task.task, task.attempt, 0.0, me.compute(task)))
        assert (future.result(10), future.worker) == (42, "by-hand")
        me.send(m.WorkerGoodbye())
    told = story(question.finish(), future.task_id)
    assert [row[1] for row in told.rows][1:2] == ["sent to by-hand as attempt 1"]


def test_missing_message_ends_the_wait_with_an_error(cluster: Cluster) -> None:
    with Transcript(cluster).client("me") as me:
        with pytest.raises(NotReceived, match="me waited 0.2 s for a ClientWelcome"):
            me.receive(m.ClientWelcome, timeout_s=0.2)


def test_silent_bug_hunt_worker_is_lost_and_the_fixed_one_is_not(empty: Cluster) -> None:
    lost = {}
    for name, play in (("one", by_hand.one), ("other", by_hand.other)):
        question = Work(empty)
        future = question.submit(add, 20, 22)
        with Transcript(empty).worker(name) as me:
            play(me, 2.6)
            assert future.result(10) == 42
        lost[name] = question.end().counts().get("lost", 0)
    assert lost == {"one": 1, "other": 0}


# --- slow, registry, containers -----------------------------------------------------------------------------


def test_slowed_worker_gets_fewer_tasks_and_history_records_the_times(cluster: Cluster) -> None:
    ours = send(cluster, 30 * [0.05])
    with slowed(cluster, "worker-2"):
        ours.until_done(0.8)
    history = ours.finish()
    assert [(fault, target) for _at, fault, target in history.faults()] == [
        ("slow", "worker-2"),
        ("heal", "worker-2"),
    ]
    assert history.share()["worker-2"] < history.share()["worker-1"] and history.check() == []
    with pytest.raises(ClusterError, match="worker-9"), slowed(cluster, "worker-9"):
        pytest.fail("there is no such worker")


def test_flush_is_noticed_and_repaired() -> None:
    require(find_binary(), "a Redis server")
    with open_cluster(workers=2) as cluster:
        registry = Registry(cluster)
        registry.until_whole()
        assert registry.flush() == 0
        registry.until_whole()
        assert registry.count() == 2
        rows = registry.beside_broker().rows
        assert [row[0] for row in rows] == ["worker-1", "worker-2"] and all(row[1] == row[5] for row in rows)
        registry.close()


def test_learners_own_redis_is_never_emptied(tmp_path: Path) -> None:
    require(find_binary(), "a Redis server")
    port = ports.choose("127.0.0.1", {}, usual=False)["redis"]
    with RedisServer.start(port, tmp_path / "data", tmp_path / "log") as server:
        settings = replace(Settings.from_environment(), redis_url=server.url)
        with open_cluster(workers=1, settings=settings) as cluster:
            registry = Registry(cluster)
            registry.until_whole()
            with pytest.raises(ForeignRedis, match="is yours"):
                registry.flush()
            assert registry.count() == 1
            registry.close()


def test_registry_prints_a_note_without_redis(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(cluster)
    assert (registry.flush(), registry.until_whole(), registry.count(), registry.queue()) == (0, 0.0, 0, 0)
    registry.raw("worker-1")
    wait_until(lambda: len(registry.beside_broker().rows) == 2, 5.0, "the broker's own rows")
    assert "Redis is a copy, never the source of truth" in capsys.readouterr().out
    registry.close()


def test_containers_are_skipped_with_a_reason_without_docker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = doctor_findings.Finding(
        "docker", doctor_findings.WARN, doctor_findings.sentence("not installed"), doctor_findings.NOTHING
    )
    monkeypatch.setattr(doctor_checks, "examine", lambda _settings: iter([absent]))
    with containers.in_containers() as cluster:
        assert cluster is None
    assert capsys.readouterr().out.startswith("Skipped, no containers here: Docker: not installed\n")


def test_containers_are_skipped_without_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = doctor_findings.Finding(
        "docker", doctor_findings.OK, doctor_findings.sentence("29.1"), doctor_findings.NOTHING
    )
    monkeypatch.setattr(doctor_checks, "examine", lambda _settings: iter([there]))
    monkeypatch.setattr(images, "is_here", lambda _engine, _image: False)
    with containers.in_containers() as cluster:
        assert cluster is None
    assert "its images are not built yet" in capsys.readouterr().out


# --- side effects, a killed supervisor ----------------------------------------------------------------------


def test_one_result_may_have_two_side_effects_unless_the_task_is_idempotent(cluster: Cluster) -> None:
    assert effects_of_a_kill(cluster, idempotent=False) == (1, 2)
    assert effects_of_a_kill(cluster, idempotent=True) == (1, 1)


@pytest.mark.parametrize("call", ["status", "kill", "scale"])
def test_killed_supervisor_is_named_with_the_remedy_of_a_lesson(call: str) -> None:
    with open_cluster(workers=1, redis=False) as cluster:
        (supervisor,) = [
            process
            for process in psutil.Process().children()
            if "labkit.cluster.supervisor" in process.cmdline()
        ]
        supervisor.kill()
        supervisor.wait()
        arguments: dict[str, tuple[object, ...]] = {"kill": ("worker-1",), "scale": (2,)}
        with pytest.raises(ClusterNotRunning, match="run the cell that opened it again") as caught:
            getattr(cluster, call)(*arguments.get(call, ()))
        assert "labkit up" not in str(caught.value)


def test_log_names_what_was_running_when_the_broker_died(cluster: Cluster) -> None:
    ours = send(cluster, 12 * [0.3])
    running = ours.until_computing("worker-1")
    cluster.kill("broker")
    cluster.start("broker")
    cluster.wait_until_ready()
    history = ours.finish()
    feed = Feed()
    feed.read(history.events, 0.0, 0.0)
    named = [line.text for line in feed.log if "unknown to the new broker" in line.text]
    assert any(running[:6] in text for text in named), named
    assert running in history.recoveries()[-1].held
    assert story(history, running[:6]).rows
