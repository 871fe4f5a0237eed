"""A chart in a notebook, with its description for those who cannot see it and its numbers under it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from labkit.charts import Chart


def show(draw: Callable[..., Chart], *args: Any, **kwargs: Any) -> None:
    """Show ``draw(*args, **kwargs)`` and under it the table of the same numbers.

    ``draw`` is one of `labkit.charts`; its table is made by the function beside it, called ``..._table``.
    """
    from IPython.display import display

    import labkit.charts as charts

    display(draw(*args, **kwargs))
    display(getattr(charts, f"{draw.__name__}_table")(*args, **kwargs))
    sys.stdout.flush()
