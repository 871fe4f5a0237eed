"""Charts of a run: each function takes a ``History`` and returns a figure; a second one returns its table.

====================  ==================================================================================
``throughput``        results per second over time, stacked by worker
``gantt``             which worker computed which task and when; lost and repeated attempts
``recovery``          what a fault cost: detected, requeued, first result elsewhere, throughput back
``share``             results per worker in a period
``overview``          all of them on one page
====================  ==================================================================================

Two compare several histories by name, one compares two:

====================  ==================================================================================
``absences``          crash, freeze, slow, polite stop: what the broker saw of each, and what it cost
``waits``             how long each task waited, to compare policies
``side_by_side``      who computed what in two runs of the same tasks: a recording and its replay
====================  ==================================================================================

Two show what came of a load (`labkit.load`), from its tasks or its rates:

====================  ==================================================================================
``load``              tasks planned and done a second, and how long each waited
``ramp``              waiting over the rate of tasks, and the knee
====================  ==================================================================================

The lessons use some more, for measurements of `labkit.support.timing`:

====================  ==================================================================================
``guesses``           a guess beside the time that something took
``curve``             seconds over a varied parameter, with their spread, beside a prediction
``speed_up``          the same as speed-up factors
``timeline``          which thread made which call when
``pictures``          photographs side by side
``league``            policies beside each other: makespan, waits, fairness, repeated work, violations
====================  ==================================================================================

Each has a function ``..._table`` with the same arguments. ``alt_text(figure)`` is the text for a screen
reader. Simulated runs, local runs and runs in containers give the same charts, because a history is the only
input. See ``style`` for colours and rules.
"""

from __future__ import annotations

from labkit.support import temporary

with temporary.needed():  # matplotlib keeps a cache of the fonts, and cannot be imported without a folder
    from matplotlib.figure import Figure


from labkit.charts.draw_absences import absences, absences_table
from labkit.charts.draw_curve import curve, curve_table, speed_up, speed_up_table
from labkit.charts.draw_gantt import gantt, gantt_table
from labkit.charts.draw_guess import Guessed, StartingBet, guesses, guesses_table, is_starting, starting_bet
from labkit.charts.draw_league import Ranked, league, league_table
from labkit.charts.draw_load import LoadPoint, LoadStep, load, load_table, ramp, ramp_table
from labkit.charts.draw_overview import overview, overview_table
from labkit.charts.draw_pictures import pictures, pictures_table
from labkit.charts.draw_recovery import recovery, recovery_table
from labkit.charts.draw_replay import side_by_side, side_by_side_table
from labkit.charts.draw_share import share, share_table
from labkit.charts.draw_throughput import throughput, throughput_table
from labkit.charts.draw_timeline import timeline, timeline_table
from labkit.charts.draw_waits import longest_wait, waits, waits_table
from labkit.charts.style import Chart
from labkit.charts.table import Table
from labkit.support.palette import worker_colour

__all__ = [
    "Chart",
    "Guessed",
    "LoadPoint",
    "LoadStep",
    "Ranked",
    "StartingBet",
    "Table",
    "absences",
    "absences_table",
    "alt_text",
    "curve",
    "curve_table",
    "gantt",
    "gantt_table",
    "guesses",
    "guesses_table",
    "is_starting",
    "league",
    "league_table",
    "load",
    "load_table",
    "longest_wait",
    "overview",
    "overview_table",
    "pictures",
    "pictures_table",
    "ramp",
    "ramp_table",
    "recovery",
    "recovery_table",
    "share",
    "share_table",
    "side_by_side",
    "side_by_side_table",
    "speed_up",
    "speed_up_table",
    "starting_bet",
    "throughput",
    "throughput_table",
    "timeline",
    "timeline_table",
    "waits",
    "waits_table",
    "worker_colour",
]


def alt_text(figure: Figure) -> str:
    """Return the text description of a chart, in the language in which it was drawn."""
    return str(getattr(figure, "labkit_alt", ""))
