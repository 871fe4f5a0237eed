"""Reads a drawn chart back: its texts, its legend, and the artists with a label."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Return the visible texts of a figure that are not empty."""
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def labelled(axes: Axes, label: str) -> list[Any]:
    """Return the artists of axes whose label begins like this."""
    return [artist for artist in axes.get_children() if str(artist.get_label()).startswith(label)]


def assert_legible(figure: Figure) -> None:
    """Check that no text overlaps another, leaves the picture or is tiny; and check the picture's width."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # computes positions; no pixels are needed
    width, height = canvas.get_width_height()
    assert width == 1000
    not_drawn = ticks_out_of_sight(figure)
    boxes = []
    for text in texts(figure):
        if text in not_drawn:
            continue
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()
        assert float(text.get_fontsize()) >= 6, text.get_text()
        boxes.append((text.get_text(), box))
    for (one, box), (other, its_box) in combinations(boxes, 2):
        overlap_x = min(box.x1, its_box.x1) - max(box.x0, its_box.x0)
        overlap_y = min(box.y1, its_box.y1) - max(box.y0, its_box.y0)
        assert not (overlap_x > 1 and overlap_y > 2), f"{one!r} and {other!r} overlap"


def ticks_out_of_sight(figure: Figure) -> set[Text]:
    """Return the tick labels that Matplotlib keeps beyond the ends of an axis and does not draw."""
    found = set()
    for axes in figure.axes:
        for axis, (low, high), at in (
            (axes.xaxis, sorted(axes.get_xlim()), 0),
            (axes.yaxis, sorted(axes.get_ylim()), 1),
        ):
            labels = (tick.label1 for tick in axis.get_major_ticks())
            found |= {label for label in labels if not low <= label.get_position()[at] <= high}
    return found
