"""Errors: each is definite or not; one about a task names task, worker, attempt and reason."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.core import errors
from labkit.core.errors import LabkitError, ProtocolError, TaskError
from labkit.core.peers.client_events import Call
from labkit.core.peers.task_errors import task_error, unreadable_result
from labkit.core.protocol import messages as m
from labkit.support import i18n

# Every error class of the lab, and whether the action certainly did not happen.
DEFINITE = {
    "LabkitError": True,
    # wrong input: nothing was done
    "InvalidInput": True, "FilterError": True, "ImageError": True, "SettingsError": True, "UsageError": True,
    "CannotTravel": True, "JobRefused": True, "ProtocolError": True,
    # a task: it certainly has no result
    "TaskError": True, "TaskFailed": True, "TaskPoisoned": True, "TaskHung": True, "NoWorker": True,
    "TaskDeadlock": True,
    # a task: it may have run
    "DeadlineExceeded": False, "ResultUnreadable": False, "ClientGone": False,
    # the cluster
    "ClusterError": True, "ClusterNotRunning": True, "PortInUse": True, "BackendMissing": True,
    "AccessDenied": True, "ClusterIncomplete": True, "TooManyOpenFiles": True, "InvariantBroken": True,
    "BrokerUnreachable": False, "ClientFailed": False, "ClusterReplaced": False, "TimedOut": False,
    "DockerTimedOut": False, "NoSuchFile": True, "IncompleteCopy": True,
}  # fmt: skip

TALKING = ("labkit.core", "labkit.broker", "labkit.cluster", "labkit.cli.commands")

CALL = Call(b"\xab" * 16, 1e9, 0.0, "labkit.jobs:add", "", m.EMPTY, 0)


def every_class() -> Iterator[type[LabkitError]]:
    """Yield the error classes of the core and the cluster; programs and lessons have errors of their own."""
    for package in ("labkit.core", "labkit.broker", "labkit.cluster", "labkit.cli"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not found.ispkg and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    waiting = [LabkitError]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith(TALKING) and not cls.__name__.startswith("_"):
            yield cls


def test_every_error_class_is_definite_or_not_as_documented() -> None:
    marked = {cls.__name__: cls.definite for cls in every_class() if "[" not in cls.__name__}
    assert marked == DEFINITE


def failed(code: str, attempt: int, worker: str = "worker-2") -> TaskError:
    return task_error(CALL, m.Failed(CALL.task, attempt, code, worker, "ValueError: the reason", m.EMPTY))


@pytest.mark.parametrize(
    ("code", "kind", "definite"),
    [
        ("ERROR", errors.TaskFailed, True),
        ("POISONED", errors.TaskPoisoned, True),
        ("HUNG", errors.TaskHung, True),
        ("NO_WORKER", errors.NoWorker, False),
        ("DEADLINE", errors.DeadlineExceeded, False),
    ],
)
@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_task_error_names_task_worker_attempt_and_reason(
    code: str, kind: type[TaskError], definite: bool, language: str
) -> None:
    i18n.set_language(language)
    error = failed(code, 3)
    assert isinstance(error, kind) and error.definite is definite
    said = i18n.translate_error(error)
    assert CALL.task.hex() in said and "labkit.jobs:add" in said and "3" in said
    assert code == "NO_WORKER" or "worker-2" in said  # its worker is not the reason
    assert code == "HUNG" or "the reason" in said  # the hang is the reason
    assert {error.params[key] for key in ("task", "worker", "attempt")} == {CALL.task.hex(), "worker-2", 3}


@pytest.mark.parametrize("attempt", [0, 2])
@pytest.mark.parametrize(("language", "remedy"), [("en", "add workers"), ("es", "agregar workers")])
def test_deadlock_says_what_to_do(attempt: int, language: str, remedy: str) -> None:
    i18n.set_language(language)
    error = failed("DEADLOCK", attempt, "")
    said = i18n.translate_error(error)
    assert isinstance(error, errors.TaskDeadlock) and CALL.task.hex() in said
    assert remedy in said and "scale" in said and "?" not in said


@pytest.mark.parametrize(("code", "definite"), [("NO_WORKER", True), ("DEADLINE", False)])
def test_error_of_a_task_never_dispatched_names_no_worker(code: str, definite: bool) -> None:
    error = failed(code, 0, "")
    assert error.definite is definite
    assert CALL.task.hex() in str(error) and "the reason" in str(error)
    assert "attempt" not in str(error) and "?" not in str(error)


def test_unreadable_result_names_its_worker() -> None:
    result = m.Result(CALL.task, 2, 0.1, "worker-1", m.Payload(b"\xc1"))
    error = unreadable_result(CALL, result, ProtocolError("it is no MessagePack"))
    assert all(word in str(error) for word in (CALL.task.hex(), "worker-1", "attempt 2", "no MessagePack"))


@pytest.mark.parametrize("code", ["ERROR", "POISONED", "HUNG", "NO_WORKER", "DEADLINE"])
def test_error_crosses_processes_unchanged(code: str) -> None:
    for attempt in (0, 3):
        error = failed(code, attempt)
        twin: Any = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(twin).__name__, str(twin), twin.params, twin.definite) == (
            type(error).__name__, str(error), error.params, error.definite,
        )  # fmt: skip
