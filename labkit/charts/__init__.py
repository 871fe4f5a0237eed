"""Pictures of a run: each takes a ``History`` and returns a figure, beside it a table of the same numbers.

====================  ==================================================================================
``throughput``        results per second over time, stacked by worker
``gantt``             which worker computed which task when; lost and repeated attempts
``recovery``          what a fault cost: detected, requeued, first result elsewhere, throughput back
``share``             results per worker in a period
``overview``          all of them on one page
====================  ==================================================================================

Each has a ``..._table`` with the same arguments. ``alt_text(figure)`` is what a screen reader should say.
A simulated run, a local one and one in containers draw the same pictures, because nothing but the history
goes in. See ``style`` for the colours and rules.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from labkit.charts.draw_gantt import gantt, gantt_table
from labkit.charts.draw_overview import overview, overview_table
from labkit.charts.draw_recovery import recovery, recovery_table
from labkit.charts.draw_share import share, share_table
from labkit.charts.draw_throughput import throughput, throughput_table
from labkit.charts.style import Chart, worker_colour
from labkit.charts.table import Table

__all__ = [
    "Chart",
    "Table",
    "alt_text",
    "gantt",
    "gantt_table",
    "overview",
    "overview_table",
    "recovery",
    "recovery_table",
    "share",
    "share_table",
    "throughput",
    "throughput_table",
    "worker_colour",
]


def alt_text(figure: Figure) -> str:
    """Return the description of a chart in words, in the language in which it was drawn."""
    return str(getattr(figure, "labkit_alt", ""))
