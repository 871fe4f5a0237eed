"""Reads a drawn chart back: its texts, its legend, and the artists with a label."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Return all that is written on a figure, except what is empty."""
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def labelled(axes: Axes, label: str) -> list[Any]:
    """Return the artists of axes whose label begins like this."""
    return [artist for artist in axes.get_children() if str(artist.get_label()).startswith(label)]


def is_tick_out_of_sight(text: Text, figure: Figure) -> bool:
    """Matplotlib keeps tick labels beyond the ends of an axis and does not draw them."""
    for axes in figure.axes:
        for axis, (low, high), at in (
            (axes.xaxis, sorted(axes.get_xlim()), 0),
            (axes.yaxis, sorted(axes.get_ylim()), 1),
        ):
            if text in [tick.label1 for tick in axis.get_major_ticks()]:
                return not low <= text.get_position()[at] <= high
    return False
