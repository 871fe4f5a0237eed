"""The findings about whatever a learner's process may answer or do; `verdict` defines what a finding is."""

from __future__ import annotations

from typing import Any, Final

from labkit.core.errors import N_, InvariantBroken
from labkit.practice.verdict import Finding

NOT_YET: Final = "not-yet"
"""The code of a stub that is still as it was handed out."""


def of_answer(kind: str, rest: list[Any], function: str, file: str) -> Finding:
    """Return the finding for an answer of the process that is no value (`labkit.practice.player`).

    ``rest``: what follows the answer's kind. Raises InvariantBroken for an unknown kind.
    """
    finding: Finding
    if kind == "missing":
        finding = Finding(
            "missing",
            N_("{file} has no function {function}"),
            expected=N_("{file} defines {function}"),
            advice=N_("Write {function} again, or begin anew: practice reset keeps a copy of your file."),
            file=file,
            function=rest[0],
        )
    elif kind == "signature":
        finding = Finding(
            "signature",
            N_("{function} cannot be called as the exercise calls it: {error}"),
            expected=N_("{function} takes the arguments that the exercise's text names"),
            advice=N_("Give {function} its parameters back; their names may change, their number may not."),
            function=function,
            error=rest[0],
        )
    elif kind == "unsendable":
        finding = Finding(
            "wrong-type",
            N_("{function} returned something else than the exercise asks for: {error}"),
            expected=N_("{function} returns plain values: numbers, text, lists, arrays"),
            advice=N_("Look at what {function} returns, for instance with print."),
            function=function,
            error=rest[0],
        )
    elif kind == "raised" and rest[0] == "NotImplementedError":
        finding = Finding(
            NOT_YET,
            N_("{function} is not written yet"),
            expected=N_("{function} does what the exercise asks for"),
            advice=N_("Replace the line with NotImplementedError by your own code."),
            function=function,
        )
        finding.learner_lines = tuple(rest[2])
    elif kind == "import":
        finding = Finding(
            "import",
            N_("{file} cannot be imported: {error}"),
            expected=N_("Python can import {file}"),
            advice=_advice_on_import(rest[1], bool(rest[2])),
            file=file,
            error=rest[1],
        )
        finding.learner_lines = tuple(rest[2])
    elif kind == "raised":
        finding = Finding(
            "raised",
            N_("it ended with an exception: {error}"),
            expected=N_("{function} returns without an exception"),
            advice=_advice_on_error(len(rest[2]), rest[4]),
            function=rest[3] or function,
            error=rest[1],
        )
        finding.learner_lines = tuple(rest[2])
    else:
        raise InvariantBroken(N_("the learner's process answered {answer!r}"), answer=kind)
    return finding


def _advice_on_import(error: str, has_line: bool) -> str:
    if has_line:
        return N_("Correct the line that is shown, then save the file.")
    if "null bytes" in error:
        return N_("Save {file} as UTF-8: the editor has a setting for it, and the file has another encoding.")
    return N_("Look whether {file} is a Python file that you may read.")


def _advice_on_error(lines: int, is_inside: bool) -> str:
    """Return where to look; ``is_inside``: the last of the lines itself raised the exception."""
    if not lines:
        return N_("No line of your file was running: look at what {function} gives to others.")
    if not is_inside:
        return N_("What the last line calls or waits for raised it: look at what it was given.")
    return (
        N_("It happened in this line.")
        if lines == 1
        else N_("Read the last of these lines: there it happened.")
    )


def import_never_ends(file: str, limit_s: float, running: tuple[str, ...]) -> Finding:
    """Return the finding for a file whose import does not end; ``running``: the line that it is at."""
    finding = Finding(
        "never-returns",
        N_("the import of {file} had not ended after {seconds:g} s"),
        expected=N_("Python can import {file} within {seconds:g} s"),
        advice=N_("An import runs every line outside of functions. Which of them waits, or never ends?"),
        file=file,
        seconds=limit_s,
    )
    finding.learner_lines = running
    return finding


def ended(exit_code: int, file: str) -> Finding:
    """Return the finding for a process that is gone."""
    return Finding(
        "ended",
        N_("your code ended the whole process (exit code {exit_code})"),
        expected=N_("your code returns to its caller"),
        advice=N_("Look for exit, os._exit, os.kill or a fork in {file}."),
        exit_code=exit_code,
        file=file,
    )


def never_returns(function: str, limit_s: float, running: tuple[str, ...]) -> Finding:
    """Return the finding for a call without an end; ``running``: the learner's line that it is at."""
    finding = Finding(
        "never-returns",
        N_("{function} had not returned after {seconds:g} s"),
        expected=N_("{function} returns within {seconds:g} s"),
        advice=N_("This line was running. Look for a loop that never ends, or a wait for what never comes."),
        function=function,
        seconds=limit_s,
    )
    finding.learner_lines = running
    return finding


def too_many_processes(function: str, most: int) -> Finding:
    """Return the finding for a call that has started more processes than ``most``."""
    return Finding(
        "too-many-processes",
        N_("{function} had started more than {most} processes"),
        expected=N_("it starts as many processes as the exercise asks for"),
        advice=N_("A fork in a loop doubles the processes each time, and so does a pool inside a pool."),
        function=function,
        most=most,
    )


def too_much_memory(function: str, most_bytes: int, running: tuple[str, ...]) -> Finding:
    """Return the finding for a process that has grown beyond ``most_bytes``."""
    finding = Finding(
        "too-much-memory",
        N_("{function} had taken more than {megabytes} MB of memory"),
        expected=N_("it needs no more memory than its data"),
        advice=N_("This line was running. Look for a list that grows in a loop that never ends."),
        function=function,
        megabytes=most_bytes >> 20,
    )
    finding.learner_lines = running
    return finding


def too_slow(function: str, seconds: float) -> Finding:
    """Return the finding for many calls that took too long together, none of them by itself."""
    return Finding(
        "too-slow",
        N_("all calls of your code together took more than {seconds:g} s"),
        expected=N_("a check's calls take less than {seconds:g} s together"),
        advice=N_("Look for a sleep in {function}, or for work that each call does again."),
        seconds=seconds,
        function=function,
    )


def broken_python(file: str) -> Finding:
    """Return the finding for a process that cannot answer any more, or answers nonsense."""
    return Finding(
        "broken-python",
        N_("your code has changed Python itself, so that the check cannot go on"),
        expected=N_("built-in functions, standard modules and files that others opened stay as they are"),
        advice=N_("Look in {file} for os.close, and for values given to names of other modules."),
        file=file,
    )


def unusable(function: str, answer: str) -> Finding:
    """Return the finding for an answer that the check cannot compute with."""
    return Finding(
        "wrong-type",
        N_("{function} returned something else than the exercise asks for: {answer}"),
        expected=N_("{function} returns what the exercise's text names"),
        advice=N_("Look at what {function} returns, for instance with print."),
        function=function,
        answer=answer,
    )
