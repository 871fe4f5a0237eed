"""Helpers that the notebooks of the course import; each does one thing that a lesson needs.

=====================  =================================================================================
``lesson``             begin a lesson in a language, its checkpoints, its end that leaves nothing behind
``error_display``      labkit's errors in the lesson's language, with the commands that its reader types
``display``            a chart with its numbers under it, how far off a guess was, a function's source
``readings``           how much faster something was, in a sentence that the figures decide
``race``               day 1: a lost update, and the lock that prevents it
``amdahl``             day 2: a program with a serial and a parallel part
``memory``             day 2: state that stays in the process a function runs in
``work``               day 3: tasks that are sent, followed through the history, and disturbed
``stall_watch``        day 3: why a cell would wait forever, and what to do about it
``raw_peer``           day 3: a client or a worker played by hand, message by message
``story``              day 3: what happened to one task
``slowed``             day 3: a worker that gets the processor only for short moments
``effects``            day 3: what a task that is begun twice does twice
``registry``           day 3: what the broker knows, beside its snapshot in Redis
``by_hand``            day 3: the two workers of the bug hunt
``targets``            day 3: the course's targets, measured by the demo's code
``containers``         day 3: the same cluster in containers, if Docker is available
=====================  =================================================================================

Day 1's slow web server is `labkit.practice.slow_server`, because exercises use it, too.

Rules: a cell holds the subject of the lesson, and everything else is here. Text for people comes from the
catalogue. Functions that run in other processes live in modules, never in a cell.
"""

from __future__ import annotations

import logging

# On a machine with many fonts, the first import of matplotlib takes seconds and logs a warning, which would
# appear in red in a student's first cell. Set before the imports below, which import matplotlib.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

from labkit.charts import starting_bet  # noqa: E402
from labkit.classroom.display import gap, show, source  # noqa: E402
from labkit.classroom.lesson import Lesson, begin, check_machine  # noqa: E402
from labkit.classroom.readings import faster  # noqa: E402

__all__ = ["Lesson", "begin", "check_machine", "faster", "gap", "show", "source", "starting_bet"]
