"""What the notebooks of the course import: each helper does one thing that a lesson needs.

=====================  =================================================================================
``lesson``             begin a lesson in a language, its checkpoints, its end that leaves nothing behind
``exhibit``            a chart with the table of its numbers under it
=====================  =================================================================================

Rules: a cell holds what the lesson is about, and everything else is here. What people read comes from the
catalogue. Functions that run in other processes live in modules, never in a cell.
"""

from __future__ import annotations

from labkit.classroom.exhibit import gap, show, source
from labkit.classroom.lesson import Lesson, begin, check_machine

__all__ = ["Lesson", "begin", "check_machine", "gap", "show", "source"]
