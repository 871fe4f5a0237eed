"""What the notebooks of the course import: each helper does one thing that a lesson needs.

=====================  =================================================================================
``lesson``             begin a lesson in a language, its checkpoints, its end that leaves nothing behind
``telling``            labkit's errors, in the lesson's language and with the commands that its reader types
``exhibit``            a chart with its numbers under it, how far off a guess was, a function's source
``slow_server``        day 1: the web server that is slow on purpose
``race``               day 1: an addition that is lost, and the lock that mends it
``amdahl``             day 2: a program with a part that cannot be shared out
``memory``             day 2: what a function remembers in the process it runs in
``work``               day 3: tasks that are sent, followed through the history, and disturbed
``stuck``              day 3: why a cell waits in vain, and what to do about it
``conversation``       day 3: a client or a worker that is played by hand, message by message
``story``              day 3: what happened to one task
``slowed``             day 3: a worker that gets the processor only now and then
``registry``           day 3: what the broker knows, beside its picture in Redis
``by_hand``            day 3: the two workers of the bug hunt
``targets``            day 3: what the course promises, measured by the demo's own code
``containers``         day 3: the same cluster in containers, where there are any
=====================  =================================================================================

Rules: a cell holds what the lesson is about, and everything else is here. What people read comes from the
catalogue. Functions that run in other processes live in modules, never in a cell.
"""

from __future__ import annotations

import logging

# Where there are many fonts, the first import of matplotlib takes seconds and says so, in red, in a student's
# first cell. Before the imports below, one of which it is.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

from labkit.classroom.display import gap, show, source  # noqa: E402
from labkit.classroom.lesson import Lesson, begin, check_machine  # noqa: E402

__all__ = ["Lesson", "begin", "check_machine", "gap", "show", "source"]
