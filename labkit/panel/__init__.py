"""The control panel of a cluster in a notebook's cell: ``cluster.panel()``.

Reading order::

    pulse      what the history tells, kept for a live view: rates, marks, a log        (pure)
    view       one moment of a cluster as the panel shows it, from its status           (pure)
    page       a moment as HTML: cards, chart, log, and the picture without buttons     (pure)
    load       a steady stream of small tasks, so that there is something to disturb
    panel      the widgets, one thread that keeps them up to date, the buttons

Nothing is imported before a panel is asked for; a cluster's own processes never load ipywidgets.
"""

from __future__ import annotations

from labkit.panel.panel import Panel

__all__ = ["Panel"]
