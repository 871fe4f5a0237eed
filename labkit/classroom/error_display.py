"""How a notebook tells of labkit's own errors: in the lesson's language, with the commands its reader types.

The errors themselves are English, as logs are, and write commands as ``python -m labkit up``. A notebook's
reader has the lab's folder open in a terminal, and there it is ``python3 lab.py up``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from labkit.cli import output
from labkit.core.errors import LabkitError
from labkit.support import i18n


def tell_errors() -> None:
    """Have the notebook that this runs in show labkit's errors so; without a notebook nothing changes."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:  # a test, or a script
        return
    output.typed_in(output.ROOT)

    def show(
        shell: Any, kind: type, error: LabkitError, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        shell.showtraceback((kind, as_told(error), trace), tb_offset=tb_offset)

    shell.set_custom_exc((LabkitError,), show)


def as_told(error: LabkitError) -> LabkitError:
    """Return an error of the same kind and causes that says the same as its reader would have it said."""
    told = type(error).__new__(type(error), *error.args)
    told.__dict__.update(error.__dict__)
    told.template = "{said}"
    told.params = {**error.params, "said": output.as_called(i18n.translate_error(error))}
    told.__cause__, told.__context__ = error.__cause__, error.__context__
    told.__suppress_context__ = error.__suppress_context__
    return told.with_traceback(error.__traceback__)
