"""Calls to processes of this machine: pickled, with everything that may fail tried where it can be reported.

Python's process pool unpickles calls and results outside of any task. If that raises, it gives up the whole
pool: every open future fails, and the pool takes no more. A learner's class can cause it easily: an exception
with a required keyword argument cannot be unpickled. So a call is unpickled inside its task (`run`), and a
result or an exception is unpickled once in the child before it is sent.

Values of plain types cannot fail, so they travel as always, without another copy.
"""

from __future__ import annotations

import functools
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit.calls import refusals, registry
from labkit.core import exception_text
from labkit.core.peers.task_errors import failure_in_process
from labkit.support.tracebacks import traceback_text

MAX_DEPTH = 8
"""Deeper values are not searched for foreign types; they are tried."""

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})


def packed(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, bytes, dict[int, Any], str, str]:
    """Return the arguments of `run` for this call; raises what pickle raises for it.

    Raises `CannotTravel` if the function's file has changed since it was imported.
    """
    values = [*args, *kwargs.values()]
    plain = {at: value for at, value in enumerate(values) if _is_plain(value)}
    others = {at: value for at, value in enumerate(values) if at not in plain}
    name = str(getattr(function, "__qualname__", type(function).__name__))
    job = _job_in(function)
    version = registry.version_of(job)
    return name, pickle.dumps((function, tuple(kwargs), others)), plain, job, version


def _job_in(function: Any) -> str:
    """Return "module:qualname" of the function of a call; of that inside a `functools.partial`, too."""
    while isinstance(function, functools.partial):  # Python's own ``map`` makes one of each chunk
        function = function.args[0] if function.args and callable(function.args[0]) else function.func
    return f"{getattr(function, '__module__', None)}:{getattr(function, '__qualname__', '')}"


def run(name: str, call: bytes, plain: dict[int, Any], job: str = "", version: str = "") -> Any:
    """Return the result of the call that `packed` returned; runs in the child.

    A learner's module that has changed is loaded again first (`labkit.calls.versions`).
    """
    try:
        if version:
            registry.resolve_version(job, version)
        function, names, values = pickle.loads(call)  # noqa: S301 - from our own parent process
        values |= plain
        in_order = [values[at] for at in range(len(values))]
        first_named = len(in_order) - len(names)
        named = dict(zip(names, in_order[first_named:], strict=True))
        result = function(*in_order[:first_named], **named)
        if not _is_plain(result):
            _copy(result)
        return result
    except BaseException as error:
        if _can_travel(error):
            raise
        failure = failure_in_process(name, exception_text.summary(error), traceback_text(error))
    raise failure  # outside of the block above: the error must not become its context


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def _can_travel(error: BaseException) -> bool:
    """Return whether the pool can send ``error``."""
    try:
        _tried_as_by_the_pool(error)
    except BaseException:  # noqa: BLE001 - the class's own code may raise anything
        return False
    return True


def _tried_as_by_the_pool(error: BaseException) -> None:
    """Raise now what the pool would raise: format the error, pickle and unpickle it, set its cause."""
    traceback.format_exception(type(error), error, error.__traceback__)
    error.__traceback__ = error.__traceback__  # the pool sets it, too
    copy = _copy(error)
    if not issubclass(type(copy), BaseException):
        raise TypeError("it unpickles as something else")
    copy.__cause__ = None


def _is_plain(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether ``value`` consists only of types that pickle handles by itself."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind in (list, tuple, set, frozenset):
        return _PLAIN.issuperset(map(type, value)) or (
            depth > 0 and all(_is_plain(item, depth - 1) for item in value)
        )
    if kind is dict:
        return depth > 0 and _is_plain(list(value), depth - 1) and _is_plain(list(value.values()), depth - 1)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and kind.__module__ == "numpy":  # ndarray and the numbers
        return issubclass(kind, refusals.numpys(numpy)) and not value.dtype.hasobject
    return False
