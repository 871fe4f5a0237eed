"""The error that a task's future raises, made from the broker's ``Failed`` message.

Each way to fail has its class in `labkit.core.errors`. The most frequent one, an exception in the task's own
code, travels as text, because nothing may be unpickled: its type and message ("ValueError: the cup is empty")
and its traceback. Here it becomes an exception again:

* It is always a `TaskFailed`, so it names task, job, worker and attempt.
* It is *also* an instance of the class that was raised, if that is one of Python's or labkit's own: code with
  ``except ValueError`` works on the cluster as it does on every other engine, and ``errno`` and ``filename``
  of an OSError, and ``name`` and ``path`` of an ImportError, are those of the worker's exception.
* Its ``__cause__`` is a `RemoteTraceback`, so Python prints the worker's traceback above it, as it does for
  ``concurrent.futures.ProcessPoolExecutor``.

An exception of any other class is only a `TaskFailed`: building it would mean running foreign code. A class
that only shares its name with one of Python's is named with its module (`labkit.core.exception_text`).
"""

from __future__ import annotations

import builtins
import functools
from typing import Any

from labkit.core import errors, exception_attributes, exception_text
from labkit.core.errors import (
    N_,
    DeadlineExceeded,
    LabkitError,
    NoWorker,
    ProtocolError,
    ResultUnreadable,
    TaskDeadlock,
    TaskError,
    TaskFailed,
    TaskHung,
    TaskPoisoned,
)
from labkit.core.peers.client_events import Call
from labkit.core.protocol import messages as m

# Not built from a sentence alone, or of special meaning to Python itself: a parent class stands in.
_NOT_THESE = (
    SyntaxError,
    UnicodeDecodeError,
    UnicodeEncodeError,
    UnicodeTranslateError,
    BaseExceptionGroup,
    StopIteration,
    StopAsyncIteration,
    errors.ProtocolError,
)


def task_error(call: Call, failed: m.Failed) -> TaskError:
    """Return the error for a ``Failed`` message; it names task, job, worker and attempt."""
    named = {
        "task": call.task.hex(),
        "job": call.job,
        "worker": failed.worker or "?",
        "attempt": failed.attempt,
        "error": failed.error,
    }
    if failed.code == "ERROR":
        attributes = bytes(failed.payload.frames[0]) if failed.payload.frames else b""
        index = exception_attributes.index_of(attributes)
        if index is None:
            template = N_("{job} failed on {worker} (task {task}, attempt {attempt}): {error}")
        else:
            named["input"] = index
            template = N_(
                "{job} failed at input {input} on {worker} (task {task}, attempt {attempt}): {error}"
            )
        traceback = bytes(failed.payload.body).decode("utf-8", "replace")
        return _failure(failed.error, traceback, attributes, template, **named)
    if failed.code == "POISONED":
        return TaskPoisoned(
            N_(
                "{job} is poisoned: {error} (task {task}, last on {worker}, attempt {attempt}); "
                "it is not tried again. python -m labkit logs {worker} may show what happened"
            ),
            **named,
        )
    if failed.code == "HUNG":
        return TaskHung(
            N_(
                "{job} hung: it outran its lease on every attempt "
                "(task {task}, last on {worker}, attempt {attempt})"
            ),
            **named,
        )
    if failed.code == "DEADLOCK":
        return TaskDeadlock(
            N_(
                "{job} cannot start (task {task}): tasks that wait for other tasks of this cluster, this one "
                "among them, occupy all its workers. Submit it from your program and not from inside a task, "
                "or add workers: python -m labkit scale N"
            ),
            **named,
        )
    if failed.code == "NO_WORKER" and not failed.attempt:
        return NoWorker(
            N_("{job} was not done: {error} (task {task}); python -m labkit status shows the workers"),
            **named,
        )
    if failed.code == "NO_WORKER":
        return NoWorker(
            N_(
                "{job} was not done: {error} (task {task}, after attempt {attempt}); "
                "python -m labkit status shows the workers"
            ),
            **named,
        )
    if not failed.attempt:
        return DeadlineExceeded(N_("{job} was not done before its deadline (task {task}): {error}"), **named)
    return DeadlineExceeded(
        N_(
            "{job} was not done before its deadline "
            "(task {task}, last on {worker}, attempt {attempt}): {error}"
        ),
        **named,
    )


def unreadable_result(call: Call, result: m.Result, why: Exception) -> ResultUnreadable:
    """Return the error for a result that cannot be decoded."""
    return ResultUnreadable(
        N_(
            "{job} was done by {worker}, but its result cannot be read "
            "(task {task}, attempt {attempt}): {why}"
        ),
        task=call.task.hex(),
        job=call.job,
        worker=result.worker,
        attempt=result.attempt,
        why=why if isinstance(why, ProtocolError) else exception_text.summary(why),
    )


# --- an exception of the task's own -------------------------------------------------------------------------


class RemoteTraceback(Exception):
    """A worker's traceback as text: the cause of a task's error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def failure_in_process(job: str, reported: str, traceback: str) -> TaskFailed:
    """Return the error for an exception that cannot leave the process of this machine that raised it."""
    template = N_("{job} failed: {error}")
    return _failure(reported, traceback, b"", template, job=job, error=reported)


def _failure(reported: str, traceback: str, attributes: bytes, template: str, **params: Any) -> TaskFailed:
    """Return the error for an exception that a worker reported as ``reported`` ("ValueError: …").

    ``attributes`` are those of the exception (`labkit.core.exception_attributes`), ``template`` and
    ``params`` make the sentence, as for every `LabkitError`.
    """
    kind = _like(reported.partition(":")[0])
    error = kind(template, traceback=traceback, **params)
    if isinstance(error, _TwoInOne) and attributes:
        error.restore(exception_attributes.decode(kind, attributes))
    error.__cause__ = RemoteTraceback(traceback)
    return error


@functools.lru_cache(maxsize=256)
def _like(name: str) -> type[TaskFailed]:
    """Return `TaskFailed`, or a class that derives from it and from the exception called ``name``."""
    named = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(named, type) and issubclass(named, Exception)):
        return TaskFailed
    base = next(parent for parent in named.__mro__ if not issubclass(parent, _NOT_THESE))
    if base in (Exception, LabkitError) or issubclass(base, TaskFailed):
        return TaskFailed
    # Python's OSError would take the sentence for an errno: plain attributes replace those of the base class.
    own: dict[str, Any] = dict.fromkeys(exception_attributes.names_of(base))
    own |= {"also": name, "__module__": TaskFailed.__module__}
    return type(f"TaskFailed[{name}]", (_TwoInOne, base), own)


class _TwoInOne(TaskFailed):
    """A `TaskFailed` that is also another exception; pickle makes its class again by name."""

    also = ""
    """Name of the other exception."""

    def restore(self, attributes: exception_attributes.Attributes) -> None:
        """Take over the attributes of the exception that was raised, such as ``errno``."""
        self.__dict__.update(attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        own = {name: getattr(self, name) for name in exception_attributes.names_of(type(self))}
        return _rebuild, (self.also, self.template, self.params, self.__cause__, own)


def _rebuild(
    name: str,
    template: str,
    params: dict[str, Any],
    cause: BaseException | None,
    attributes: exception_attributes.Attributes,
) -> TaskFailed:
    error = _like(name)(template, **params)
    assert isinstance(error, _TwoInOne)
    error.restore(attributes)
    error.__cause__ = cause
    return error
