"""A worker's exception as the error of a future: its class and its attributes."""

from __future__ import annotations

import copy
import errno
import pickle
from pathlib import Path
from typing import Any

import pytest

from labkit.core import exception_attributes, exception_text
from labkit.core.errors import FilterError, TaskError, TaskFailed
from labkit.core.peers.client_events import Call
from labkit.core.peers.task_errors import task_error
from labkit.core.protocol import messages as m
from workers.compute import PATHS

CALL = Call(b"\xab" * 16, 1e9, 0.0, "work.mine:read", "", m.EMPTY, 0)


def arrived(error: BaseException, frames: tuple[Any, ...] | None = None) -> TaskError:
    """Return the error of the future of a task that raised ``error``."""
    if frames is None:
        attributes = exception_attributes.encode(error, as_text=PATHS)
        frames = (memoryview(attributes),) if attributes else ()
    payload = m.Payload(b"Traceback ...", frames)
    return task_error(
        CALL, m.Failed(CALL.task, 1, "ERROR", "worker-1", exception_text.summary(error), payload)
    )


def named(name: str, base: type[Exception] = Exception, **attributes: object) -> Exception:
    made: Exception = type(name, (base,), {"__module__": "work.mine", **attributes})("mine")
    return made


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(2, "x"), ConnectionResetError("x"), FilterError("x")]
)
def test_well_known_class_arrives_as_itself(error: Exception) -> None:
    assert isinstance(arrived(error), type(error)) and isinstance(arrived(error), TaskFailed)


@pytest.mark.parametrize("name", ["TimeoutError", "FilterError", "IOError", "ValueError: x", "KeyError"])
def test_learners_class_of_a_known_name_is_only_a_task_failed(name: str) -> None:
    error = arrived(named(name))
    assert type(error) is TaskFailed and "work.mine." in str(error)
    assert not isinstance(error, TimeoutError | OSError | ValueError | KeyError)


@pytest.mark.parametrize(
    "raised",
    [
        OSError(2, "nope", "file"),
        OSError(errno.EACCES, "it's: 'not'", "a -> 'b'", None, "c"),
        OSError(errno.EXDEV, "no", "n\u00fc\n" + "x" * 2000),
        OSError(5, "no file"),
        OSError("only a sentence"),
        ModuleNotFoundError("No module named 'cv3'", name="cv3", path="/lib"),
    ],
)
def test_error_keeps_the_attributes_that_programs_read(raised: OSError | ImportError) -> None:
    error = arrived(raised)
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    for found in (error, twin, copy.copy(error)):
        assert isinstance(found, type(raised)), "the class, too"
        for name in exception_attributes.names_of(type(raised)):
            assert getattr(found, name) == getattr(raised, name), name


def test_name_of_a_file_as_bytes_arrives_as_text() -> None:
    error = arrived(OSError(2, "nope", b"caf\xe9"))
    assert isinstance(error, FileNotFoundError) and error.filename == "caf\udce9"


def test_name_of_a_file_as_a_path_arrives_as_text() -> None:
    name = Path("photos") / "caf\u00e9.png"
    error = arrived(OSError(2, "nope", name, None, name))
    assert isinstance(error, FileNotFoundError) and (error.filename, error.filename2) == (
        str(name),
        str(name),
    )


def test_a_value_is_not_asked_what_its_class_equals() -> None:
    meta: Any = type("Meta", (type,), {"__eq__": lambda *_: exit(1), "__hash__": lambda _: exit(1)})
    error = arrived(OSError(2, "nope", meta("Odd", (), {})()))
    assert isinstance(error, FileNotFoundError) and error.filename is None


def test_a_path_of_a_learners_class_is_not_asked_for_its_text() -> None:
    odd: Any = type(
        "Odd", (type(Path()),), {"__str__": lambda self: exit(1), "__fspath__": lambda self: exit(1)}
    )
    error = arrived(named_file := OSError(2, "nope", odd.__new__(odd)))
    assert isinstance(error, type(named_file)) and error.filename is None


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"errno": [1]}',
        b'{"args": 1, "template": "x"}',
        b'{"errno": ' + b"9" * 9999,
    ],
)
def test_attributes_that_make_no_sense_are_dropped(frame: bytes) -> None:
    error: Any = arrived(FileNotFoundError(2, "nope"), (frame,))
    assert isinstance(error, FileNotFoundError) and error.errno is None
    assert "nope" in str(error)


def test_foreign_class_sends_no_attributes() -> None:
    assert exception_attributes.encode(named("Mine", OSError, errno=property(lambda self: exit(1)))) == b""
