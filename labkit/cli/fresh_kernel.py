"""Shows errors in a notebook calmly: what is wrong, in which line of the cell, and what to do next.

``install`` is called by each kernel that ``lab`` starts (``notebooks/settings/startup.py``). It handles the
one mistake of a kernel that has just started: a cell from the middle of a notebook is run, and the names that
the cells above define do not exist yet. The reader is told to run from the top, without a traceback. As soon
as a lesson begins, ``labkit.classroom.error_display`` takes over; both show their lines with `show_lines`.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from labkit.support.i18n import _


def install() -> None:
    """Install the display of names that do not exist yet in the running kernel; do nothing outside of one."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((NameError,), show_missing_name)


def show_missing_name(
    shell: Any, kind: type, error: NameError, trace: TracebackType, tb_offset: int | None = None
) -> None:
    """Show that a name does not exist yet, and that the cells above define it.

    A name that is missing in a file is that file's mistake, and is shown with its traceback.
    """
    if not _is_raised_in_cell(shell, trace):
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return
    remedy = _("run from the top: menu Run, Run All Above Selected Cell; then run this cell again")
    if "lesson" in shell.user_ns:
        fresh = _("if a cell above defines this name, it has not been run since the kernel started")
    else:
        fresh = _("this kernel has just started: none of what the cells above define exists yet")
    show_lines(shell, error, trace, str(error), [fresh, remedy])


def show_lines(
    shell: Any, error: BaseException, trace: TracebackType, text: str, more: Sequence[str] = ()
) -> None:
    """Show ``text`` after the error's name, the line of the cell that raised it, and the lines ``more``.

    ``%tb`` still shows the whole traceback.
    """
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    where = _line_of_cell(shell, trace)
    wrong, _separator, remedy = text.partition("; ")
    lines = [f"{type(error).__name__}: {wrong}", *filter(None, (where, remedy)), *more]
    shell._showtraceback(type(error), error, lines)


def _is_raised_in_cell(shell: Any, trace: TracebackType) -> bool:
    while trace.tb_next is not None:
        trace = trace.tb_next
    return shell.compile.format_code_name(trace.tb_frame.f_code.co_filename) is not None


def _line_of_cell(shell: Any, trace: TracebackType | None) -> str:
    """Return the last line of a cell that the traceback passes, or an empty text."""
    found = ""
    while trace is not None:
        code = shell.compile.format_code_name(trace.tb_frame.f_code.co_filename)
        if code is not None:
            line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).strip()
            found = _("line {n} of this cell: {code}").format(n=trace.tb_lineno, code=line)
        trace = trace.tb_next
    return found
