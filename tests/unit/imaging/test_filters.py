"""Filters by name: parameters and steps are checked, and errors say what is allowed."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import jobs
from labkit.calls import registry
from labkit.core.errors import FilterError, ImageError
from labkit.imaging.filters import FILTERS, apply, apply_steps, parse_steps, parse_value
from labkit.imaging.parameters import Filter, Parameter
from tests.unit.imaging.test_filter_functions import LAYOUTS, REQUIRED, RESIZING, noise

# --- parameters ---------------------------------------------------------------------------------------------

EVERY_PARAMETER = [(filter.name, parameter) for filter in FILTERS.values() for parameter in filter.parameters]


@pytest.mark.parametrize(
    ("name", "parameter"), EVERY_PARAMETER, ids=lambda value: getattr(value, "name", value)
)
@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        math.nan,
        math.inf,
        -math.inf,
        "3",
        "",
        None,
        [3],
        3j,
        -0.001,
        1e9,
        10**400,
        np.bool_(True),
    ],
)
def test_a_wrong_value_is_refused_with_filter_parameter_and_range(
    name: str, parameter: Parameter, value: object
) -> None:
    params: dict[str, object] = {**REQUIRED.get(name, {}), parameter.name: value}
    with pytest.raises(FilterError) as refusal:
        apply(LAYOUTS["grey"], name, **params)
    sentence = str(refusal.value)
    assert f"{name}.{parameter.name}" in sentence
    assert str(parameter.low) in sentence
    assert str(parameter.high) in sentence
    assert repr(value)[:70] in sentence


@pytest.mark.parametrize(
    ("name", "parameter"), EVERY_PARAMETER, ids=lambda value: getattr(value, "name", value)
)
def test_the_ends_of_a_range_are_inside_it(name: str, parameter: Parameter) -> None:
    image = noise(6, 5, 3)
    for value in (parameter.low, parameter.high):
        params = {**({"width": 1, "height": 1} if name in RESIZING else {}), parameter.name: value}
        apply(image, name, **params)


def test_numbers_of_other_kinds_become_plain_ones_that_travel() -> None:
    ((_, params),) = parse_steps(["resize"], {"resize": {"width": np.int64(20), "height": 10.0}})
    assert params == {"width": 20, "height": 10}
    assert {type(value) for value in params.values()} == {int}
    ((_, params),) = parse_steps(["blur"], {"blur": {"radius": Fraction(1, 2)}})
    assert params == {"radius": 0.5}
    assert type(params["radius"]) is float


def test_an_integer_too_long_to_print_is_refused_in_a_sentence() -> None:
    with pytest.raises(FilterError) as refusal:
        apply(LAYOUTS["grey"], "blur", radius=10**9000)
    assert "blur.radius" in str(refusal.value)


def test_a_fractional_width_is_refused() -> None:
    with pytest.raises(FilterError, match=r"resize\.width = 2\.5 .* a whole number from 1 to 16384"):
        apply(LAYOUTS["grey"], "resize", width=2.5, height=3)


def test_resize_needs_one_of_its_parameters_and_fit_both() -> None:
    with pytest.raises(FilterError, match=r"needs resize\.width, a number .*, or resize\.height"):
        apply(LAYOUTS["grey"], "resize")
    with pytest.raises(FilterError, match=r"needs fit\.height"):
        apply(LAYOUTS["grey"], "fit", width=3)


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        ({"width": 62}, (48, 62)),
        ({"width": 10}, (8, 10)),
        ({"height": 12}, (12, 16)),  # 15.5
        ({"height": 1}, (1, 1)),
        ({"width": 10, "height": 99}, (99, 10)),  # squeezed, because both sides were asked for
    ],
)
def test_resize_with_one_side_keeps_the_proportion(params: dict[str, int], shape: tuple[int, int]) -> None:
    for image in LAYOUTS.values():
        assert apply(image, "resize", **params).shape[:2] == shape


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((62, 200), (48, 62)),
        ((200, 48), (48, 62)),
        ((31, 24), (24, 31)),
        ((10, 10), (8, 10)),
        ((1, 1), (1, 1)),
        ((16384, 1), (1, 1)),
    ],
)
def test_fit_keeps_the_proportion_within_its_box(box: tuple[int, int], shape: tuple[int, int]) -> None:
    for image in LAYOUTS.values():
        assert apply(image, "fit", width=box[0], height=box[1]).shape[:2] == shape


def test_a_thin_picture_does_not_vanish() -> None:
    for shape in ((1, 900), (900, 1)):
        assert min(apply(noise(*shape), "fit", width=20, height=20).shape) == 1
    assert apply(noise(1, 900), "resize", width=20).shape == (1, 20)


def test_a_side_in_proportion_is_bounded_like_a_given_one() -> None:
    with pytest.raises(FilterError, match=r"16384 x 16384 .* at most 25000000 pixels"):
        apply(noise(3, 3), "resize", width=16384)
    with pytest.raises(FilterError, match=r"fit\.width x fit\.height = 16384 x 16384 "):
        apply(noise(3, 3), "fit", width=16384, height=16384)


def test_only_the_given_side_travels() -> None:
    assert parse_steps(["resize"], {"resize": {"width": 800}}) == [("resize", {"width": 800})]


def test_resize_refuses_more_pixels_than_decoding_accepts() -> None:
    too_large = {"width": 16384, "height": 16384}
    with pytest.raises(FilterError, match="16384 x 16384"):
        apply(LAYOUTS["grey"], "resize", **too_large)
    with pytest.raises(FilterError, match="at most 25000000 pixels"):  # before anything is sent anywhere
        parse_steps(["resize"], {"resize": too_large})
    with pytest.raises(FilterError, match="at most 25000000 pixels"):
        registry.needs_of(jobs.process_image, (LAYOUTS["grey"], [("resize", too_large)]))
    assert parse_steps(["resize"], {"resize": {"width": 5000, "height": 5000}})


def test_unknown_filters_and_parameters_are_refused_with_the_known() -> None:
    with pytest.raises(
        FilterError, match=r"filter 'sharpn' is unknown; known: resize, blur, .*vignette_python"
    ):
        apply(LAYOUTS["grey"], "sharpn")
    with pytest.raises(
        FilterError, match=r"'edges' has no parameter 'treshold1'; known: threshold1, threshold2"
    ):
        apply(LAYOUTS["grey"], "edges", treshold1=3)


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1, 2]],
        noise(3),
        noise(3, 3, 2),
        noise(3, 3, 1),
        noise(0, 3),
        noise(2, 2, 3, 1),
        np.zeros((3, 3)),
    ],
)
def test_an_array_that_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ImageError):
        apply(image, "blur")


# --- several filters ----------------------------------------------------------------------------------------


def test_steps_come_with_all_parameters_in_the_order_of_the_filters() -> None:
    steps = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
    assert steps == [("sharpen", {"intensity": 3.0}), ("edges", {"threshold1": 50, "threshold2": 150})]


def test_steps_are_applied_one_after_the_other() -> None:
    image = LAYOUTS["BGR"]
    steps = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
    assert np.array_equal(apply_steps(image, steps), apply(apply(image, "sharpen", intensity=3), "edges"))


def test_steps_may_arrive_as_lists() -> None:
    image = LAYOUTS["grey"]
    assert np.array_equal(apply_steps(image, [["blur", {"radius": 1}]]), apply(image, "blur", radius=1))  # type: ignore[list-item]


def test_without_steps_the_result_is_a_copy() -> None:
    image = LAYOUTS["grey"]
    result = apply_steps(image, [])
    assert np.array_equal(result, image)
    assert not np.shares_memory(result, image)


@pytest.mark.parametrize(
    "steps", [[None], ["blur"], [("blur",)], [("blur", None)], [("blur", {"radius": 1}, 2)], [7]]
)
def test_a_malformed_step_is_refused(steps: Any) -> None:
    with pytest.raises(FilterError):
        apply_steps(LAYOUTS["grey"], steps)


def test_all_steps_are_checked_before_the_first_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []

    def spy(image: np.ndarray, radius: float) -> np.ndarray:
        applied.append("blur")
        return image

    monkeypatch.setitem(FILTERS, "blur", Filter("blur", spy, FILTERS["blur"].parameters))
    with pytest.raises(FilterError):
        apply_steps(LAYOUTS["grey"], [("blur", {}), ("edges", {"threshold1": -1})])
    assert applied == []


@pytest.mark.parametrize(
    ("chosen", "params", "said"),
    [
        ([], None, "0 filters were given"),
        (["blur"] * 33, None, "33 filters were given; 1 to 32"),
        ("blur", None, "must be a list of names"),
        (7, None, "must be a list of names"),
        (["blur", "nope"], None, "'nope' is unknown"),
        ([["blur"]], None, "is unknown"),
        (["blur"], {"nope": {}}, "'nope' is unknown"),
        (["blur"], {"edges": {}}, "'edges', which is not among the filters chosen: blur"),
        (["blur"], {"blur": 3}, "must be names with values, not 3"),
        (
            ["blur"],
            [3],
            "parameters must be given per filter, such as {'sharpen': {'intensity': 3}}, not [3]",
        ),
        (["blur"], {"blur": {3: 3}}, "no parameter 3"),
        (["resize"], None, "needs resize.width, a number from 1 to 16384"),
    ],
)
def test_a_wrong_choice_of_filters_is_refused_with_a_sentence(chosen: Any, params: Any, said: str) -> None:
    with pytest.raises(FilterError) as refusal:
        parse_steps(chosen, params)
    assert said in str(refusal.value)


def test_a_long_value_is_quoted_in_part() -> None:
    with pytest.raises(FilterError) as refusal:
        parse_steps(["x" * 10_000])
    assert len(str(refusal.value)) < 300


# --- text from a command line -------------------------------------------------------------------------------


def test_text_becomes_a_number_of_the_parameters_type() -> None:
    assert parse_value("sharpen", "intensity", "3") == 3.0
    assert parse_value("sharpen", "intensity", "0.5") == 0.5
    width = parse_value("resize", "width", "320")
    assert (width, type(width)) == (320, int)


@pytest.mark.parametrize(
    "text", ["", "three", "nan", "inf", "-1", "1e9", "0x3", "3px", "True", "1_0", "٣", "1e999", "."]
)
def test_text_that_is_no_number_in_the_range_is_refused(text: str) -> None:
    with pytest.raises(FilterError, match=r"sharpen\.intensity = "):
        parse_value("sharpen", "intensity", text)


def test_text_for_an_unknown_filter_or_parameter_is_refused() -> None:
    with pytest.raises(FilterError, match="'sharpn' is unknown"):
        parse_value("sharpn", "intensity", "3")
    with pytest.raises(FilterError, match="has no parameter 'x'; known: intensity"):
        parse_value("sharpen", "x", "3")


@given(st.text())
def test_any_text_gives_a_number_or_a_filter_error(text: str) -> None:
    try:
        number = parse_value("blur", "radius", text)
    except FilterError as refusal:
        assert "blur.radius" in str(refusal)
    else:
        assert 0 <= number <= 100
