"""The filters themselves: pure functions from an image and checked parameters to a new image.

An image is uint8 or uint16 (of which white is 65535), grey ``(height, width)``, BGR ``(height, width, 3)`` or
BGRA ``(height, width, 4)``. The result has the same depth and layout. Only `resize` and `fit` change height
and width, also those of the alpha channel. All other filters leave it unchanged, because transparency is not
a colour. The argument is never modified.

Colours of transparent pixels cannot be seen, and files keep any values there. So filters that mix
neighbouring pixels weight each colour by its alpha.

The functions trust their parameters: `labkit.imaging.filters` checks them first.

There are two kinds of filter, for the second day of the course. OpenCV's filters run in C and release the
GIL. ``vignette_python`` is a plain Python loop over real pixels and holds the GIL for as long as it runs.

NumPy and OpenCV are imported where they are used, so that importing the table of filters costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.core.errors import N_, FilterError
from labkit.imaging.image_files import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

MAX_SIDE = 16_384
"""Pixels; the most that `resize` and `fit` may be asked for."""


def resize(image: np.ndarray, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Return the image scaled to ``width`` or ``height`` pixels, in its own proportions.

    With both sides it is squeezed or stretched to exactly ``width`` x ``height``. Raises `FilterError` if the
    result has too many pixels.
    """
    given_height, given_width = image.shape[:2]
    if width is None and height is None:
        _needs_a_side()
    if width is None:
        width = _in_proportion(given_width, height, given_height)
    if height is None:
        height = _in_proportion(given_height, width, given_width)
    _not_too_large(width, height)
    return _scaled(image, width, height)


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the image in its own proportions, as large as a box of ``width`` x ``height`` pixels can hold.

    Small images are enlarged. Raises `FilterError` if the result has too many pixels.
    """
    given_height, given_width = image.shape[:2]
    if given_width * height > width * given_height:  # wider than the box
        height = min(height, _in_proportion(given_height, width, given_width))
    else:
        width = min(width, _in_proportion(given_width, height, given_height))
    _not_too_large(width, height, "fit")
    return _scaled(image, width, height)


def _in_proportion(side: int, wanted: int | None, given: int) -> int:
    """Return ``side`` times ``wanted`` / ``given``, rounded, at least one pixel."""
    return max(1, (2 * side * (wanted or 1) + given) // (2 * given))


def _scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the image scaled to exactly ``width`` x ``height`` pixels."""
    import cv2

    # Averaging the covered area suits shrinking; enlarging with it would produce blocks.
    smaller = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    if not _is_translucent(image):
        return cv2.resize(image, (width, height), interpolation=how)
    import numpy as np

    def scale(plane: np.ndarray) -> np.ndarray:
        return cv2.resize(plane, (width, height), interpolation=how)

    result = np.empty((height, width, 4), image.dtype)
    result[:, :, 3] = np.rint(scale(image[:, :, 3].astype(np.float32)))
    _average_what_is_visible(image, scale, result)
    return result


def _is_translucent(image: np.ndarray) -> bool:
    """Return whether parts of the image are more transparent than others: then colours must be weighted."""
    if image.ndim == 2 or image.shape[2] == 3:
        return False
    alpha = image[:, :, 3]
    return bool(alpha.min() != alpha.max() or alpha.max() == 0)


def _average_what_is_visible(
    image: np.ndarray, average: Callable[[np.ndarray], np.ndarray], result: np.ndarray
) -> None:
    """Write the averages of the colours into ``result``, each pixel weighted by its alpha.

    Without the weights, colours of transparent pixels would show at the rim of what is visible. (Averaging
    colours multiplied by alpha and dividing by the average of alpha is the same.)
    """
    import numpy as np

    alpha = image[:, :, 3].astype(np.float32)
    weights = average(alpha)
    seen = weights > 1e-3
    divisor = np.where(seen, weights, 1)
    most = np.iinfo(image.dtype).max
    for channel in range(3):
        colour = average(image[:, :, channel] * alpha)
        colour /= divisor
        result[:, :, channel] = np.where(seen, np.clip(np.rint(colour), 0, most), 0)


def _not_too_large(width: int, height: int, filter: str = "resize") -> None:
    if width * height > MAX_PIXELS:
        raise FilterError(
            N_(
                "{filter}.width x {filter}.height = {width} x {height} is not allowed: "
                "at most {max_pixels} pixels in all are"
            ),
            filter=filter,
            width=width,
            height=height,
            max_pixels=MAX_PIXELS,
        )


def _needs_a_side() -> None:
    raise FilterError(
        N_(
            "filter {filter!r} needs {filter}.width, a number from {low} to {high}, or {filter}.height; "
            "the other side follows in proportion"
        ),
        filter="resize",
        low=1,
        high=MAX_SIDE,
    )


def check_sides(width: int | None = None, height: int | None = None) -> None:
    """Raise `FilterError` if `resize` cannot take these together."""
    if width is None and height is None:
        _needs_a_side()
    _not_too_large(width or 1, height or 1)


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Return the image after a Gaussian blur, standard deviation ``radius`` pixels; 0 changes nothing."""
    import cv2

    if radius == 0:
        return image.copy()
    if not _is_translucent(image):
        return _on_colours(image, lambda colours: cv2.GaussianBlur(colours, (0, 0), radius))
    result = image.copy()
    _average_what_is_visible(image, lambda plane: cv2.GaussianBlur(plane, (0, 0), radius), result)
    return result


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Return the image with each colour value times ``factor``, at most white; 1 changes nothing."""
    import cv2
    import numpy as np

    # There are few possible values: compute each once, then look up.
    most = int(np.iinfo(image.dtype).max)
    table = np.minimum(np.rint(np.arange(most + 1) * factor), most).astype(image.dtype)
    return _on_colours(image, lambda colours: cv2.LUT(colours, table))


def sharpen(image: np.ndarray, intensity: float) -> np.ndarray:
    """Return the image plus ``intensity`` times its difference to the four neighbours; 0 changes nothing."""
    import cv2
    import numpy as np

    i = intensity
    kernel = np.array([[0, -i, 0], [-i, 1 + 4 * i, -i], [0, -i, 0]], np.float32)
    if not _is_translucent(image):
        return _on_colours(
            image, lambda colours: cv2.filter2D(colours, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        )
    # The same sum, in which each neighbour counts as far as it is visible.
    neighbours = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    most = np.iinfo(image.dtype).max
    alpha = image[:, :, 3].astype(np.float32) / most
    own = 1 + i * cv2.filter2D(alpha, -1, neighbours, borderType=cv2.BORDER_REPLICATE)
    result = image.copy()
    for channel in range(3):
        colour = image[:, :, channel].astype(np.float32)
        around = cv2.filter2D(colour * alpha, -1, neighbours, borderType=cv2.BORDER_REPLICATE)
        result[:, :, channel] = np.clip(np.rint(colour * own - i * around), 0, most)
    return result


def edges(image: np.ndarray, threshold1: float, threshold2: float) -> np.ndarray:
    """Return Canny's edges, white on black, in the layout of the input.

    The edge map itself is ``(height, width)``. For BGR it is repeated in the three channels, for BGRA as
    well, with the image's own alpha: any filter may follow, and the result looks the same in every layout. A
    gradient above the larger threshold is an edge, one above the smaller if it touches an edge; their order
    does not matter. The thresholds count in steps of 8 bits, whatever the depth. Transparent parts are judged
    on black and on white, so that outlines are edges and hidden colours are not.
    """
    import cv2
    import numpy as np

    if image.ndim == 2:
        return _canny(image, threshold1, threshold2)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if image.shape[2] == 3 else cv2.COLOR_BGRA2GRAY)
    if _is_translucent(image):
        most = np.iinfo(image.dtype).max
        alpha = image[:, :, 3].astype(np.float32) / most
        grounds = (np.rint(grey * alpha + ground * (1 - alpha)).astype(image.dtype) for ground in (0, most))
        edge_map = np.maximum(*(_canny(each, threshold1, threshold2) for each in grounds))
    else:
        edge_map = _canny(grey, threshold1, threshold2)
    return _on_colours(image, lambda _: cv2.cvtColor(edge_map, cv2.COLOR_GRAY2BGR))


def _canny(grey: np.ndarray, threshold1: float, threshold2: float) -> np.ndarray:
    """Return the edges of a grey image of either depth. OpenCV's own takes 8 bits, or gradients."""
    import cv2
    import numpy as np

    if grey.dtype == np.uint8:
        return cv2.Canny(grey, threshold1, threshold2)
    # In sixteenths of an 8-bit step, the steepest gradient still fits into an int16.
    fine = grey.astype(np.float32) * np.float32(16 / 257)
    across, down = (
        np.rint(cv2.Sobel(fine, cv2.CV_32F, x, y, borderType=cv2.BORDER_REPLICATE)).astype(np.int16)
        for x, y in ((1, 0), (0, 1))
    )
    return cv2.Canny(across, down, 16 * threshold1, 16 * threshold2).astype(np.uint16) * 257


def vignette_python(image: np.ndarray, strength: float) -> np.ndarray:
    """Return the image darkened towards its corners, where ``strength`` of the light (0 to 1) is missing.

    Pure Python, pixel by pixel, on purpose: it is about a hundred times as slow as OpenCV, and no other
    thread of this process runs Python meanwhile. The light falls with the square of the distance from the
    centre.
    """
    import numpy as np

    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    colours = min(channels, 3)  # a fourth channel is alpha
    pixels: Any = bytearray(image.tobytes())
    if image.dtype != np.uint8:
        pixels = memoryview(pixels).cast("H")
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    corner = (centre_x**2 + centre_y**2) or 1.0  # a single pixel: its centre is its corner
    at = 0
    for y in range(height):
        for x in range(width):
            light = 1 - strength * ((x - centre_x) ** 2 + (y - centre_y) ** 2) / corner
            for channel in range(at, at + colours):
                pixels[channel] = int(pixels[channel] * light + 0.5)
            at += channels
    return np.frombuffer(pixels, image.dtype).reshape(image.shape)


def _on_colours(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return ``change`` of the colour channels, with the alpha channel (if any) as it was."""
    if image.ndim == 2 or image.shape[2] == 3:
        return change(image)
    import numpy as np

    return np.dstack([change(np.ascontiguousarray(image[:, :, :3])), image[:, :, 3]])
