"""The filters' pixels: pure functions on real layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labkit.imaging.filters import FILTERS, apply

REQUIRED: dict[str, dict[str, int]] = {
    "resize": {"width": 20, "height": 10},
    "fit": {"width": 13, "height": 10},
}
RESIZING = {"resize": (10, 20), "fit": (10, 13)}
"""The shape that a picture of 24 x 31 gets."""
NEUTRAL: dict[str, dict[str, Any]] = {
    "blur": {"radius": 0},
    "brightness": {"factor": 1},
    "sharpen": {"intensity": 0},
    "vignette_python": {"strength": 0},
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


LAYOUTS = {"grey": noise(24, 31), "BGR": noise(24, 31, 3), "BGRA": noise(24, 31, 4)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_keeps_the_layout_and_leaves_its_argument_alone(name: str, layout: str) -> None:
    image = LAYOUTS[layout].copy()
    result = apply(image, name, **REQUIRED.get(name, {}))
    assert result.dtype == np.uint8
    assert result.shape == RESIZING.get(name, (24, 31)) + image.shape[2:]
    assert np.array_equal(image, LAYOUTS[layout])
    assert not np.shares_memory(image, result)


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in RESIZING])
def test_alpha_passes_through_unchanged(name: str) -> None:
    image = LAYOUTS["BGRA"]
    assert np.array_equal(apply(image, name)[:, :, 3], image[:, :, 3])


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in RESIZING])
def test_colours_do_not_depend_on_an_even_alpha_channel_beside_them(name: str) -> None:
    image = LAYOUTS["BGRA"].copy()
    image[:, :, 3] = 170
    assert np.array_equal(apply(image, name)[:, :, :3], apply(image[:, :, :3], name))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_is_deterministic(name: str, layout: str) -> None:
    params = REQUIRED.get(name, {})
    assert np.array_equal(apply(LAYOUTS[layout], name, **params), apply(LAYOUTS[layout], name, **params))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_parameter_changes_nothing(name: str, layout: str) -> None:
    assert np.array_equal(apply(LAYOUTS[layout], name, **NEUTRAL[name]), LAYOUTS[layout])


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_takes_a_single_pixel(name: str) -> None:
    for image in (noise(1, 1), noise(1, 1, 3), noise(1, 1, 4)):
        assert apply(image, name, **REQUIRED.get(name, {})).ndim == image.ndim


@pytest.mark.parametrize("name", FILTERS)
def test_strided_and_read_only_arrays_are_accepted_as_images(name: str) -> None:
    params = REQUIRED.get(name, {})
    view = noise(40, 40, 3)[::-2, 3:30]
    expected = apply(view.copy(), name, **params)
    assert np.array_equal(apply(view, name, **params), expected)
    view.flags.writeable = False
    assert np.array_equal(apply(view, name, **params), expected)


# --- what the single filters do -----------------------------------------------------------------------------


def test_resize_averages_when_it_shrinks() -> None:
    image = np.array([[0, 100], [100, 200]], np.uint8)
    assert apply(image, "resize", width=1, height=1).tolist() == [[100]]


def test_blur_spreads_a_point_evenly() -> None:
    image = np.zeros((21, 21), np.uint8)
    image[10, 10] = 255
    result = apply(image, "blur", radius=2)
    assert 0 < result[10, 10] < 255
    assert result[10, 8] == result[10, 12] == result[8, 10] == result[12, 10] > 0


def test_brightness_multiplies_rounds_and_saturates() -> None:
    image = np.array([[0, 3, 100, 200]], np.uint8)
    assert apply(image, "brightness", factor=1.5).tolist() == [[0, 4, 150, 255]]
    assert apply(image, "brightness", factor=0).tolist() == [[0, 0, 0, 0]]


def test_sharpen_leaves_even_areas_and_raises_contrast_at_a_step() -> None:
    image = np.full((5, 6), 100, np.uint8)
    assert np.array_equal(apply(image, "sharpen", intensity=3), image)
    image[:, 3:] = 120
    assert apply(image, "sharpen", intensity=1)[2].tolist() == [100, 100, 80, 140, 120, 120]
    assert apply(image, "sharpen")[2].tolist() == [100, 100, 80, 140, 120, 120]


def test_edges_are_white_lines_on_black_in_the_layout_of_the_input() -> None:
    square = np.zeros((30, 30), np.uint8)
    square[10:20, 10:20] = 255
    edge_map = apply(square, "edges")
    assert set(np.unique(edge_map)) == {0, 255}
    assert edge_map[15, 15] == 0
    coloured = apply(np.dstack([square, square, square, square // 2]), "edges")
    for channel in range(3):
        assert np.array_equal(coloured[:, :, channel], edge_map)
    assert np.array_equal(coloured[:, :, 3], square // 2)
    assert np.array_equal(edge_map, apply(square, "edges", threshold1=150, threshold2=50))


def test_the_vignette_darkens_the_corners_and_not_the_centre() -> None:
    result = apply(np.full((11, 11), 200, np.uint8), "vignette_python", strength=1)
    assert result[5, 5] == 200
    assert [result[0, 0], result[0, 10], result[10, 0], result[10, 10]] == [0, 0, 0, 0]
    assert result[0, 5] == result[5, 0] == 100


def test_the_vignette_equals_the_same_formula_computed_by_numpy() -> None:
    image = LAYOUTS["BGR"]
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    centre_y, centre_x = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    light = 1 - 0.7 * ((x - centre_x) ** 2 + (y - centre_y) ** 2) / (centre_x**2 + centre_y**2)
    expected = (image * light[:, :, None] + 0.5).astype(np.uint8)
    assert np.array_equal(apply(image, "vignette_python", strength=0.7), expected)


def test_only_the_python_filter_holds_the_gil() -> None:
    assert [filter.name for filter in FILTERS.values() if filter.holds_gil] == ["vignette_python"]
