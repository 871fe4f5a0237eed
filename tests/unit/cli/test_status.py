"""What ``status`` shows of a cluster."""

from __future__ import annotations

import io
import time
from typing import Any, cast

import pytest
from rich.console import Console

from labkit.cli import output
from labkit.cli.keyboard import Keys
from labkit.cli.status import _watch, picture
from labkit.cli.submit import _why_waiting
from labkit.cluster.status import ClusterStatus
from labkit.cluster.status_table import state_cell
from labkit.cluster.status_text import STATES, state_of
from labkit.core.errors import ClusterNotRunning
from labkit.support import i18n


def worker(
    name: str = "worker-1", process: str = "running", status: str = "ready", **changed: Any
) -> dict[str, Any]:
    return {
        "name": name, "process": process, "status": status, "pid": 4711, "restarts": 0, "last_exit": "",
        "restart_in_s": None, "capabilities": [], "tasks_completed": 12, "in_flight": 1, "slots": 1,
        "last_heartbeat_age_s": 0.25, **changed,
    }  # fmt: skip


def process(name: str, kind: str, state: str = "running", **changed: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "state": state, "last_exit": "", "restart_in_s": None, **changed}


def status(*workers: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "cluster": "class[3]", "address": "tcp://127.0.0.1:5555", "redis_url": "redis://127.0.0.1:6379/0",
        "workers": list(workers), "guests": [],
        "processes": [process("broker", "broker"), process("redis", "redis")],
        "broker": {"queued": 7, "assigned": 3, "clients": 2, "mirror": "ok"}, "broker_error": None,
        "unrecorded_faults": [], **changed,
    }  # fmt: skip


def shown(told: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(picture(cast(ClusterStatus, told)))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_faults_that_the_history_lacks_are_mentioned_for_a_while_only() -> None:
    lacking = [
        {"fault": "kill", "target": "worker-1", "wall": time.time() - age_s} for age_s in (5.0, 3600.0)
    ]
    assert "1 fault is not in the history" in shown(status(worker(), unrecorded_faults=lacking))
    assert "not in the history" not in shown(status(worker(), unrecorded_faults=lacking[1:]))


def test_row_shows_a_workers_state_and_numbers() -> None:
    text = shown(status(worker(capabilities=["blur", "edges"], status="busy")))
    row = next(line for line in text.splitlines() if line.startswith("worker-1"))
    assert row.split() == ["worker-1", "busy", "1", "12", "1", "blur,", "edges", "0.2", "s", "ago", "4711"]


def test_summary_counts_workers_tasks_and_clients() -> None:
    text = shown(status(worker(), worker("worker-2", "killed", "absent", pid=None)))
    assert "class[3]: 1 of 2 workers ready" in text
    assert "queue 7   in flight 3   clients 1" in text  # the client that asks is not counted
    assert "redis://127.0.0.1:6379/0 (mirror up to date)" in text


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("width", [30, 40, 60, 80, 160])
def test_narrow_terminal_drops_whole_columns_and_cuts_nothing(language: str, width: int) -> None:
    i18n.set_language(language)
    told = status(worker(capabilities=["blur", "edges"]), worker("worker-2", "paused", "lost", pid=12345))
    console = Console(file=io.StringIO(), width=width)
    console.print(picture(cast(ClusterStatus, told), width))
    text = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert "…" not in text and all(len(line.rstrip()) <= width for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if line.startswith("worker-")]
    assert [row[0] for row in rows] == ["worker-1", "worker-2"]
    assert (rows[0][-1] == "4711") == (width >= {"en": 80, "es": 160}[language])


def test_workers_from_elsewhere_are_shown_after_the_clusters_own() -> None:
    text = shown(status(worker(), guests=[worker("lab-2", "elsewhere", "busy")]))
    assert "1 of 1 worker ready, and 1 from elsewhere" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("worker-1", "lab-2"))]
    assert [row[0] for row in rows] == ["worker-1", "lab-2"] and rows[1][1:3] == ["busy,", "elsewhere"]


def test_gone_worker_shows_no_old_numbers() -> None:
    text = shown(status(worker(process="killed", status="lost", pid=None)))
    row = next(line for line in text.splitlines() if line.startswith("worker-1"))
    assert row.split() == ["worker-1", "killed", *"------"]


def test_cluster_without_redis_shows_redis_off() -> None:
    assert "Redis off" in shown(status(worker(), redis_url=None))


def test_a_password_is_not_shown() -> None:
    text = shown(status(worker(), redis_url="redis://ana:secret@10.0.0.7:6379/0"))
    assert "secret" not in text and "10.0.0.7:6379" in text


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (worker(), "ready"),
        (worker(status="absent"), "joining"),
        (worker(process="paused", status="ready"), "frozen"),
        (worker(process="paused", status="lost"), "frozen, lost"),
        (worker(process="killed", status="lost"), "killed"),
        (worker(process="restarting", status="absent", last_exit="exit 86"), "restarting after exit 86"),
    ],
    ids=str,
)
def test_state_of_a_worker_is_shown_in_words_and_colour(told: dict[str, Any], expected: str) -> None:
    cell = state_cell(told)
    assert cell.plain == expected and cell.style == STATES[state_of(told)].terminal


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        ({"processes": [process("broker", "broker", "killed")], "broker": None}, "start broker"),
        ({"processes": [process("broker", "broker", "paused")], "broker": None}, "resume broker"),
        ({"processes": [process("redis", "redis", "stopped")]}, "start redis"),
        ({"processes": [process("api", "api", "killed")]}, "start api"),
        ({"processes": [process("worker-1", "worker", "restarting", restart_in_s=5.0)]}, "logs worker-1"),
        ({"broker": None}, "logs broker"),
    ],
    ids=str,
)
def test_problem_is_shown_with_the_next_step(changed: dict[str, Any], step: str) -> None:
    assert f"{output.call()} {step}" in shown(status(worker(), **changed))


def test_faults_missing_in_the_history_are_counted() -> None:
    faults = [{"fault": "kill", "target": "worker-1"}, {"fault": "start", "target": "broker"}]
    assert "1 fault is not in the history" in shown(status(worker(), unrecorded_faults=faults))


def test_watch_of_a_cluster_that_goes_down_ends_with_the_next_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cluster:
        name = "default"
        told = iter([status(worker())])

        def status(self) -> dict[str, Any]:
            for told in self.told:
                return told
            raise ClusterNotRunning("the supervisor cannot be reached")

    monkeypatch.setattr(Keys, "__enter__", lambda keys: keys)
    monkeypatch.setattr(Keys, "__exit__", lambda keys, *exception: None)
    monkeypatch.setattr(Keys, "pressed", lambda keys, timeout_s: "")
    with pytest.raises(ClusterNotRunning, match="'default' is down now; python -m labkit up"):
        _watch(Cluster())  # type: ignore[arg-type]


def test_status_is_shown_in_spanish() -> None:
    i18n.set_language("es")
    text = shown(status(worker(), worker("worker-2", "killed", "absent")))
    assert "ready" not in text and "heartbeat" not in text and "killed" not in text


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (status(worker()), ""),
        (status(worker(process="killed", status="lost")), "start worker-1"),
        (status(worker(process="paused", status="lost")), "resume worker-1"),
        (status(), "scale 3"),
        (status(worker(), processes=[process("broker", "broker", "killed")]), "start broker"),
        (status(worker(), processes=[process("broker", "broker", "paused")]), "resume broker"),
        (status(worker(), processes=[process("worker-1", "worker", "running")]), "labkit up"),
        (status(worker(), processes=[process("redis", "redis", "running")]), "labkit up"),
        (
            status(worker(), processes=[process("broker", "broker", "stopped") | {"unstarted": True}]),
            "labkit up",
        ),
        (status(worker(), processes=[process("broker", "broker", "restarting")]), "logs broker"),
        (status(worker(capabilities=["resize"])), "blur"),
        (status(worker(capabilities=["resize", "blur"])), ""),
    ],
    ids=str,
)
def test_submit_shows_what_it_waits_for(told: dict[str, Any], expected: str) -> None:
    why = _why_waiting(told, {"blur"})
    assert expected in why and bool(why) == bool(expected)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (99.6, "2 min"), (7200, "2 h")]
)
def test_time_spans_are_shown_in_short_form(value: float, expected: str) -> None:
    assert output.seconds(value) == expected


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("state", ["killed", "stopped", "paused", "running", "restarting"])
def test_without_the_brokers_word_no_worker_reads_as_joining(language: str, state: str) -> None:
    i18n.set_language(language)
    workers = worker(status="absent"), worker("worker-2", "killed", "absent", pid=None)
    broker = process("broker", "broker", state)
    text = shown(status(*workers, broker=None, broker_error="silence", processes=[broker]))
    assert STATES["absent"].word not in text
    assert STATES["no_word"].word in text and STATES["killed"].word in text


def test_a_terminal_does_not_obey_what_a_worker_says_of_itself() -> None:
    text = shown(status(worker(capabilities=["blur\x1b[31m", "two\nlines"])))
    assert "\x1b[31m" not in text and "\\x1b[31m" in text and "two\\nlines" in text


def test_the_address_of_the_http_side_is_shown_if_there_is_one() -> None:
    assert "HTTP http://localhost:8123/" in shown(status(worker(), api_url="http://localhost:8123"))
    assert "HTTP" not in shown(status(worker(), api_url=None))
    assert "HTTP" in shown(status(worker(), api_url="http://localhost:8123", broker=None))
