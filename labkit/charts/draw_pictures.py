"""Pictures side by side, each with its name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, WIDTH, Chart
from labkit.charts.table import Table
from labkit.support.i18n import _
from labkit.support.palette import INK
from labkit.support.pixels import eight_bits, flattened
from labkit.support.text import printable

if TYPE_CHECKING:
    import numpy as np

COLUMNS = 6
GAP = 0.10
TILE_RATIO = 0.72
CAPTION = 0.26
QUALITY = 82


class PictureChart(Chart):
    """A chart of photographs. It is shown as a JPEG, a tenth of the size of a PNG."""

    def _repr_png_(self) -> None:  # type: ignore[override]
        return None

    def _repr_jpeg_(self) -> tuple[bytes, dict[str, str]]:
        """Return what a notebook shows."""
        return self.picture(), {"alt": self.labkit_alt}

    def _repr_html_(self) -> str:
        """Return the same as HTML, with its alternative text."""
        return style.as_html(self.picture(), "image/jpeg", self.labkit_alt)

    def picture(self) -> bytes:
        """Return the sheet as a JPEG file."""
        image = io.BytesIO()
        self.savefig(image, format="jpeg", pil_kwargs={"quality": QUALITY})
        return image.getvalue()


def pictures(named: Mapping[str, np.ndarray]) -> PictureChart:
    """Return one sheet of these pictures, each with its name below it.

    They are uint8 or uint16, grey, BGR or BGRA. Transparent parts are white.
    """
    lines = max(-(-len(named) // COLUMNS), 1)
    pitch = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
    width, height = pitch - GAP, (pitch - GAP) * TILE_RATIO
    whole = MARGIN + lines * (height + CAPTION)
    chart = PictureChart(figsize=(WIDTH, whole), dpi=style.DPI, facecolor="white")
    chart.labkit_alt = (
        _("Pictures: {names}.").format(names=", ".join(named)) if named else _("Pictures: none.")
    )
    for number, (name, image) in enumerate(named.items()):
        line, column = divmod(number, COLUMNS)
        left, top = MARGIN + column * pitch, MARGIN + line * (height + CAPTION)
        axes = style.place(chart, left, top, width, height)
        axes.imshow(_tile(image, width, height), interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        chart.text(
            left / WIDTH,
            1 - (top + height + 0.15) / whole,
            style.shortened(printable(name), width),
            fontsize=SMALL,
            color=INK,
            va="baseline",
            parse_math=False,
        )
    return chart


def pictures_table(named: Mapping[str, np.ndarray]) -> Table:
    """Return name, width and height of each picture."""
    rows: list[tuple[object, ...]] = [(name, image.shape[1], image.shape[0]) for name, image in named.items()]
    return Table((_("picture"), _("width"), _("height")), rows)


def _tile(image: np.ndarray, width: float, height: float) -> np.ndarray:
    """Return the middle of a picture, cropped and scaled to a tile in inches, as RGB uint8."""
    import cv2

    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() == image[..., 3].max() > 0:
        image = image[..., :3]  # laid on white, an evenly translucent picture would only be paler
    colours = eight_bits(flattened(image))
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB if colours.ndim == 3 else cv2.COLOR_GRAY2RGB)
    across, down = round(width * style.DPI), round(height * style.DPI)
    scale = max(across / colours.shape[1], down / colours.shape[0])
    cut_down, cut_across = round(down / scale), round(across / scale)
    top, left = (colours.shape[0] - cut_down) // 2, (colours.shape[1] - cut_across) // 2
    cut = colours[top : top + cut_down, left : left + cut_across]
    return cv2.resize(cut, (across, down), interpolation=cv2.INTER_AREA)
