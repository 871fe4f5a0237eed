"""Parts that all charts share: the figure, the layout, the size of texts. Colours: labkit.support.palette.

Rules:

* Colour never carries information alone: faults have names, interrupted and repeated attempts have hatches.
* A figure is a ``matplotlib.figure.Figure``, never one of pyplot. So no global state changes, any thread may
  draw, and no window can open. It is 1000 pixels wide: 8 inches with 125 dots each. So its
  smallest text is 16 pixels high, legible in a window of 1024 pixels and from a room's last row.
* Positions are inches from the figure's top left corner. Texts are measured before they are placed, so that
  nothing overlaps in either language.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from html import escape
from itertools import pairwise
from math import ceil
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import ScalarFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from labkit.support.palette import INK, PALE
from labkit.support.text import as_spoken

DPI = 125
WIDTH = 8.0
MARGIN = 0.12
COLOURS = 128
SMALL, NORMAL, TITLE = 9.0, 10.0, 12.0

TITLE_SPACE = 0.38
"""Above the axes."""
AXIS_SPACE = 0.50
"""Below the axes: numbers and label."""
LEGEND_LINE = 0.22
LONGEST_NAME = 1.8
"""Inches after which a worker's name is shortened."""


class Chart(Figure):
    """A figure with a text description for screen readers; a notebook shows it directly."""

    labkit_alt: str = ""

    def save(self, path: Any) -> None:
        """Write the figure to a .png or .svg file that contains the description."""
        self.savefig(path, metadata={"Description": self.labkit_alt})

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        """Return what a notebook shows: the picture, and the description as its alternative text."""
        return self.picture(), {"alt": self.labkit_alt}

    def _repr_html_(self) -> str:
        """Return the same as HTML: an export to HTML would leave out the alternative text of a PNG."""
        return as_html(self.picture(), "image/png", self.labkit_alt)

    def picture(self) -> bytes:
        """Return the figure as a PNG file of few colours, which is a third as large."""
        drawn = io.BytesIO()
        self.savefig(drawn, format="png")
        text = PngInfo()
        text.add_itxt("Description", self.labkit_alt)
        small = io.BytesIO()
        whole = Image.open(drawn).convert("RGB")
        few = whole.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(small, "PNG", optimize=True, pnginfo=text)
        return small.getvalue()

    def __repr__(self) -> str:
        return self.labkit_alt or super().__repr__()


def as_html(picture: bytes, kind: str, alt: str) -> str:
    """Return a picture as an HTML element that is as wide as there is room, with its alternative text."""
    data = base64.b64encode(picture).decode()
    return f'<img alt="{escape(alt)}" style="max-width: 100%" src="data:{kind};base64,{data}">'


def new_chart(height: float) -> Chart:
    """Return an empty figure, ``height`` inches high and 1000 pixels wide."""
    return Chart(figsize=(WIDTH, height), dpi=DPI, facecolor="white")


def place(chart: Chart, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes of this size, in inches, at this distance from the figure's top left corner."""
    whole_width, whole_height = chart.get_size_inches()
    bottom = whole_height - top - height
    return chart.add_axes(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )


def size_of(axes: Axes) -> tuple[float, float]:
    """Return width and height of axes in inches."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    whole_width, whole_height = figure.get_size_inches()
    box = axes.get_position()
    return box.width * whole_width, box.height * whole_height


# --- words --------------------------------------------------------------------------------------------------


@cache
def inches(text: str, size: float = SMALL, bold: bool = False) -> float:
    """Return how wide a text is, in inches."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _height, _descent = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def widest(texts: Sequence[str], size: float = SMALL, bold: bool = False) -> float:
    """Return the width of the widest of these texts, in inches; 0.0 if there are none."""
    return max((inches(text, size, bold) for text in texts), default=0.0)


def shortened(text: str, room: float = LONGEST_NAME, size: float = SMALL) -> str:
    """Return a text that is at most ``room`` inches wide, with its middle left out if necessary."""
    if inches(text, size) <= room:
        return text
    for keep in range(len(text) - 2, 0, -1):
        short = text[: ceil(keep / 2)] + "…" + text[len(text) - keep // 2 :]
        if inches(short, size) <= room:
            return short
    return "…"


# --- axes ---------------------------------------------------------------------------------------------------


def dress(axes: Axes, title: str, x_label: str, y_label: str = "", above: float = 0.0) -> None:
    """Give axes labels and a title ``above`` inches over them, and remove lines without information."""
    room = size_of(axes)[0]
    size = min(TITLE, TITLE * room / max(inches(title, TITLE, bold=True), 0.01))
    axes.set_title(
        title, loc="left", fontsize=size, fontweight="bold", color=INK, pad=7 + 72 * above, parse_math=False
    )
    axes.set_xlabel(x_label, fontsize=NORMAL, color=INK)
    axes.set_ylabel(y_label, fontsize=NORMAL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(Numbers())
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


class Numbers(ScalarFormatter):
    """The numbers of an axis, with the decimal mark of the reader's language."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return as_spoken(super().__call__(x, pos))


def write_empty(axes: Axes, text: str) -> None:
    """Write a sentence in the middle of axes without data."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TITLE, color=PALE)
    axes.set_yticks([])


def legend_shape(labels: Sequence[str], room: float) -> tuple[int, int]:
    """Return (columns, lines) of a legend with these labels that is at most ``room`` inches wide."""
    for columns in range(len(labels), 1, -1):
        lines, longer = divmod(len(labels), columns)  # matplotlib fills the first columns with one more
        ends = [lines * i + min(i, longer) for i in range(columns + 1)]
        if sum(widest(labels[a:b]) + 0.55 for a, b in pairwise(ends)) <= room:
            return columns, lines + (longer > 0)
    return 1, len(labels)


def legend_below(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Write a legend under the axis label, centred on the figure's width that the axes have."""
    if not labels:
        return
    width, height = size_of(axes)
    legend = axes.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, -(AXIS_SPACE - 0.02) / height),
        ncols=legend_shape(labels, width)[0],
        fontsize=SMALL,
        labelcolor=INK,
        frameon=False,
        borderaxespad=0,
        handlelength=2.0,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a worker may be called anything
