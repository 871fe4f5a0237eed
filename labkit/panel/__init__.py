"""The control panel of a cluster in a notebook's cell: ``cluster.panel()``.

Reading order::

    feed       the event stream, kept for the panel: live view, marks, a log in words   (pure)
    view       one moment of a cluster as the panel shows it, from its status           (pure)
    chart      the throughput of the last half minute, as SVG                           (pure)
    page       a moment as HTML: cards, chart, log, and the panel without buttons       (pure)
    load       a steady stream of small tasks, so that there is something to disturb
    board      the widgets: they show moments and report clicks
    panel      the life cycle: one thread that keeps the widgets up to date, the commands

A panel's modules are imported when the first panel is made. A cluster's own processes never load ipywidgets.
"""

from __future__ import annotations

from labkit.panel.panel import Panel

__all__ = ["Panel"]
