"""The contact sheet: some pictures before and after, on one page, with the worker that processed each.

Below each pair stand a bar in its worker's colour and the picture's name. Pictures that the killed worker
held come first: without the requeue they would be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from labkit.charts import style
from labkit.charts.style import MARGIN, SMALL, Chart
from labkit.demo.batch import Picture
from labkit.demo.run import VICTIM, Ran
from labkit.demo.story import recovery_of
from labkit.imaging import image_files
from labkit.support.i18n import _
from labkit.support.palette import FAULT, INK, PALE, worker_colour

if TYPE_CHECKING:
    import numpy as np

PAIRS, COLUMNS = 12, 3
TILE_WIDTH, TILE_HEIGHT = 1.58, 1.18
GAP = 0.04
"""The distance between the pictures before and after."""
CAPTION = 0.30
HEAD = 0.62


class Pair(NamedTuple):
    """One picture: name, bytes before and after, its worker, and whether the killed worker held it."""

    name: str
    before: bytes
    after: bytes
    worker: str
    rescued: bool


def choose(ran: Ran, pictures: list[Picture]) -> list[Pair]:
    """Return the pairs to show, no picture twice: first those that the killed worker held."""
    chain = recovery_of(ran.history, VICTIM)
    held = set(chain.held) if chain else set()
    rows = [row for row in ran.history.ledger() if row.task in ran.results]
    rows.sort(key=lambda row: row.task not in held)  # stable: otherwise the order of submission
    pairs: dict[int, Pair] = {}
    for row in rows:
        number = ran.tasks[row.task]
        if number not in pairs and len(pairs) < PAIRS:
            picture = pictures[number]
            pairs[number] = Pair(
                picture.name, picture.data, ran.results[row.task], row.winner, row.task in held
            )
    return list(pairs.values())


def contact_sheet(pairs: list[Pair]) -> Chart:
    """Return the page as a figure, 1000 pixels wide."""
    lines = -(-len(pairs) // COLUMNS)
    height = HEAD + lines * (TILE_HEIGHT + CAPTION) + MARGIN
    sheet = style.new_chart(height)
    sheet.text(
        MARGIN / style.WIDTH,
        1 - 0.12 / height,
        _("Before and after: sharpen, then edges"),
        fontsize=14,
        color=INK,
        va="top",
    )
    note = _("Red: {worker} held it when it was killed. The bar has the colour of the worker that did it.")
    sheet.text(
        MARGIN / style.WIDTH,
        1 - 0.40 / height,
        note.format(worker=VICTIM),
        fontsize=SMALL,
        color=PALE,
        va="top",
    )
    pitch = (style.WIDTH - 2 * MARGIN) / COLUMNS
    for number, pair in enumerate(pairs):
        line, column = divmod(number, COLUMNS)
        _draw(sheet, pair, MARGIN + column * pitch, HEAD + line * (TILE_HEIGHT + CAPTION))
    sheet.labkit_alt = _("Pictures before and after: {names}.").format(
        names=", ".join(f"{pair.name} ({pair.worker})" for pair in pairs)
    )
    return sheet


def _draw(sheet: Chart, pair: Pair, left: float, top: float) -> None:
    after_left = left + TILE_WIDTH + GAP
    for x, data, lines in ((left, pair.before, False), (after_left, pair.after, True)):
        axes = style.place(sheet, x, top, TILE_WIDTH, TILE_HEIGHT)
        axes.imshow(_tile(data, lines), interpolation="nearest", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(pair.rescued)
            spine.set_color(FAULT)
            spine.set_linewidth(2.5)
    bar = style.place(sheet, left, top + TILE_HEIGHT + 0.02, 2 * TILE_WIDTH + GAP, 0.05)
    bar.set_facecolor(worker_colour(pair.worker))
    bar.set_xticks([])
    bar.set_yticks([])
    bar.spines[:].set_visible(False)
    height = float(sheet.get_size_inches()[1])
    words = pair.worker
    if pair.rescued:
        words = _("{worker} in place of {victim}").format(worker=pair.worker, victim=VICTIM)
    room = 2 * TILE_WIDTH + GAP - style.inches(words, SMALL, bold=True) - 0.35
    sheet.text(
        left / style.WIDTH,
        1 - (top + TILE_HEIGHT + 0.10) / height,
        f"{style.shortened(pair.name, room * 0.88)}   {words}",  # bold letters are wider
        fontsize=SMALL,
        color=FAULT if pair.rescued else INK,
        va="top",
        fontweight="bold" if pair.rescued else "normal",
        parse_math=False,
    )


def _tile(data: bytes, lines: bool) -> np.ndarray:
    """Return a picture cut and scaled to a tile, as RGB ``(height, width, 3)`` uint8."""
    import cv2
    import numpy as np

    image = image_files.eight_bits(image_files.flattened(image_files.decode(data)))
    colours = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    width, height = round(TILE_WIDTH * style.DPI), round(TILE_HEIGHT * style.DPI)
    scale = max(width / colours.shape[1], height / colours.shape[0])
    part_height, part_width = round(height / scale), round(width / scale)
    top, left = (colours.shape[0] - part_height) // 2, (colours.shape[1] - part_width) // 2
    cut = colours[max(top, 0) : top + part_height, max(left, 0) : left + part_width]
    tile = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
    if lines:  # one pixel wide: a tenth of the size leaves a tenth of their brightness
        tile = np.rint(np.sqrt(tile / 255) * 255).astype(np.uint8)
    return tile
