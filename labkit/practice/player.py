"""The learner's process: ``python -m labkit.practice.player ROOT MODULE FOLDER STACKS``.

It imports ``work.MODULE`` from ROOT and calls its functions on request, one at a time. Requests and answers
are values on the pipes that were standard input and output (`labkit.practice.channel`)::

    ["import"]                       import the learner's module
    ["call", function, [argument...]]   call a function of the learner's module
    ["play", function, [argument...]]   call play.py's function(module, argument...), in the exercise's FOLDER

    ["value", value]                            it returned; the first one of all: Python runs
    ["raised", type, text, [learner's lines], function, inside]   it raised: the learner's function that was
                                    called ("" if unknown), and whether the last of the lines itself raised
    ["import", type, text, [learner's lines]]   importing the module raised
    ["missing", name]                           the module has no such function
    ["signature", text]                         the function does not take these arguments
    ["unsendable", text]                        it returned something that cannot travel
    ["no-cluster", text]                        play.py itself did not reach the check's cluster

Code that has changed Python so far that no answer can be made ends the process with `channel.BROKEN`.

What the learner's code prints goes to standard error. SIGUSR1 writes the stacks of all threads into the file
STACKS (POSIX), so that the judge can name the line at which a call does not return.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from labkit.core import exception_text
from labkit.core.errors import CannotTravel, ClusterError
from labkit.practice import channel

MOST_LINES = 5
MOST_TEXT = 500


def main(root: str, module_name: str, folder: str, stacks: str) -> None:
    """Serve requests until the judge closes the pipe."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    if hasattr(os, "register_at_fork"):  # a process that the learner's code forks must not answer for us
        os.register_at_fork(after_in_child=lambda: _hang_up(requests.fileno(), answers.fileno()))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=open(stacks, "w"), all_threads=True)  # noqa: SIM115
    sys.path.insert(0, root)
    end, own = os._exit, os.getpid()  # the learner's code may replace them
    try:
        _serve(requests, answers, module_name, Path(folder))
    except BaseException:  # noqa: BLE001 - whatever it is, a traceback of ours would say nothing to the learner
        end(channel.BROKEN if os.getpid() == own else 0)  # 0: a forked process whose call has returned


def _serve(requests: BinaryIO, answers: BinaryIO, module_name: str, folder: Path) -> None:
    module: ModuleType | None = None
    channel.send(answers, ["value", None])
    while True:
        try:
            how, *rest = channel.receive(requests)
        except EOFError:
            return
        try:
            if how == "import":
                module = importlib.import_module(f"work.{module_name}")
                answer = ["value", None]
            else:
                assert module is not None
                answer = _answer(module, folder, how, *rest)
        except BaseException as error:  # noqa: BLE001 - the learner's code may raise anything, SystemExit as well
            answer = _failure(error, module, "import" if how == "import" else "raised", f"{module_name}.py")
        try:
            channel.send(answers, answer)
        except CannotTravel:
            channel.send(answers, ["unsendable", _why_not(answer[1])])


def _why_not(value: Any) -> str:
    """Return why this value cannot travel, with places as the learner sees them."""
    try:
        channel.encode(value)
    except CannotTravel as error:
        return str(error)
    raise AssertionError(value)


def _hang_up(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # the learner's code has closed it
            os.close(descriptor)


def _failure(error: BaseException, module: ModuleType | None, kind: str, file: str) -> list[Any]:
    """Return the answer for an exception: raised by the learner's code, or by play.py on its way there."""
    if isinstance(error, AttributeError) and module is not None and _is_a(error.obj, module):
        return ["missing", error.name]
    name, text, lines = _described(error, file)
    if isinstance(error, TypeError) and not lines:  # the call itself failed, before the learner's first line
        return ["signature", str(error)]
    if kind == "import":
        return [kind, name, text, lines]
    if isinstance(error, ClusterError) and not lines:
        return ["no-cluster", text]
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame.name for frame in frames if Path(frame.filename).name == file]
    is_inside = bool(frames) and Path(frames[-1].filename).name == file
    return [kind, name, text, lines, mine[0] if mine and mine[0].isidentifier() else "", is_inside]


def _is_a(thing: object, module: ModuleType) -> bool:
    """Return whether this is the learner's module, or the same file imported again by play.py."""
    return isinstance(thing, ModuleType) and thing.__name__ == module.__name__


def _answer(module: ModuleType, folder: Path, how: str, name: str, arguments: list[Any]) -> list[Any]:
    if how == "play":
        play: Callable[..., Any] = getattr(_adapter(folder), name)
        return ["value", play(module, *arguments)]
    function = getattr(module, name, None)
    if not callable(function):
        return ["missing", name]
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return ["signature", str(error)]
    except ValueError:  # a built-in without a signature
        pass
    return ["value", function(*arguments)]


def _adapter(folder: Path) -> ModuleType:
    """Return the exercise's play.py as a module."""
    name = f"labkit.practice.exercises.{folder.name}.play"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, folder / "play.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def _described(error: BaseException, file: str) -> tuple[str, str, list[str]]:
    """Return the error's type, its text, and where in the learner's file it happened, innermost last."""
    lines = [
        f"{file}, line {frame.lineno}: {(frame.line or '').strip()}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).name == file
    ]
    lines = [line for number, line in enumerate(lines) if line not in lines[number - 1 : number]]
    if isinstance(error, SyntaxError) and error.filename and Path(str(error.filename)).name == file:
        lines.append(f"{file}, line {error.lineno}: {(error.text or '').strip()}")
    text = exception_text.summary(error)
    return type(error).__name__, text[:MOST_TEXT], lines[-MOST_LINES:]


if __name__ == "__main__":
    main(*sys.argv[1:])
