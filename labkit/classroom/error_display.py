"""Shows labkit's errors in a notebook in the lesson's language, with the commands that its reader types.

The errors themselves are in English, like the logs, and contain commands as ``python -m labkit up``. The
reader of a notebook has a terminal open in the lab's folder and types ``python3 lab.py up`` there.

An error of labkit says what to do next, so a traceback of labkit's own files would only hide it: `show`
leaves it out. ``%tb`` shows it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from labkit.cli import fresh_kernel, output
from labkit.core.errors import LabkitError
from labkit.support import i18n


def install_error_display() -> None:
    """Install the display in the running notebook kernel; do nothing outside of one."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:  # a test, or a script
        return
    output.typed_in(output.ROOT)

    shell.set_custom_exc((LabkitError, NameError), show)


def show(
    shell: Any, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None
) -> None:
    """Show an error in a few lines: what is wrong and what to do next, and the line of the cell."""
    if isinstance(error, LabkitError):
        told = translated(error)
        fresh_kernel.show_lines(shell, told, trace, str(told), getattr(error, "__notes__", []))
    elif isinstance(error, NameError):
        fresh_kernel.show_missing_name(shell, kind, error, trace)


def translated(error: LabkitError) -> LabkitError:
    """Return a copy of ``error`` with the same causes, its text translated for the reader."""
    shown = type(error).__new__(type(error), *error.args)
    shown.__dict__.update(error.__dict__)
    shown.template = "{said}"
    shown.params = {**error.params, "said": output.as_called(i18n.translate_error(error))}
    shown.__cause__, shown.__context__ = error.__cause__, error.__context__
    shown.__suppress_context__ = error.__suppress_context__
    return shown.with_traceback(error.__traceback__)
