"""The filters by name: their table, and how steps are chosen, checked and applied.

A step is a filter's name with its parameters. `apply` and `apply_steps` check names and parameters
(`labkit.imaging.parameters`), then call the function (`labkit.imaging.filter_functions`). `parse_steps` and
`parse_value` check what a program or a command line gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.core.errors import N_, FilterError, LabkitError
from labkit.imaging import applied
from labkit.imaging.filter_functions import (
    MAX_SIDE,
    blur,
    brightness,
    check_sides,
    edges,
    fit,
    resize,
    sharpen,
    vignette_python,
)
from labkit.imaging.image_files import check
from labkit.imaging.parameters import Filter, Number, Parameter, shown
from labkit.support.text import parse_float

if TYPE_CHECKING:
    import numpy as np

Step = tuple[str, dict[str, Number]]
"""One filter with all of its parameters, ready to travel: ``("sharpen", {"intensity": 3.0})``."""

MAX_STEPS = 32
"""Filters in one task."""

# 2040 is the steepest gradient that Canny can meet: |dx| + |dy|, each at most 4 x 255 (3 x 3 Sobel).
FILTERS: dict[str, Filter] = {
    each.name: each
    for each in (
        Filter(
            "resize",
            resize,
            (
                Parameter("width", 1, MAX_SIDE, whole=True, optional=True),
                Parameter("height", 1, MAX_SIDE, whole=True, optional=True),
            ),
            check_together=check_sides,
        ),
        Filter("blur", blur, (Parameter("radius", 0, 100, default=2),)),
        Filter("brightness", brightness, (Parameter("factor", 0, 10, default=1.2),)),
        Filter("sharpen", sharpen, (Parameter("intensity", 0, 20, default=1),)),
        Filter(
            "edges",
            edges,
            (Parameter("threshold1", 0, 2040, default=50), Parameter("threshold2", 0, 2040, default=150)),
        ),
        Filter(
            "fit",
            fit,
            (Parameter("width", 1, MAX_SIDE, whole=True), Parameter("height", 1, MAX_SIDE, whole=True)),
        ),
        Filter(
            "vignette_python", vignette_python, (Parameter("strength", 0, 1, default=0.5),), holds_gil=True
        ),
    )
}
"""Every filter by name, in the order in which they are shown."""


class UnknownFilters(LabkitError):
    """A worker is configured to serve a filter that the lab does not have. A warning: it is never raised."""


def warning_of_unknown(variable: str, names: Iterable[str]) -> UnknownFilters | None:
    """Return a warning about those ``names`` (the value of ``variable``) that are no filters, or None.

    Such names are allowed, because a learner's own tasks may need them, but most often they are misspelt.
    """
    unknown = [name for name in names if name not in FILTERS]
    if not unknown:
        return None
    return UnknownFilters(
        N_("{variable} names {unknown}, but the lab has no such filter; known: {known}"),
        variable=variable,
        unknown=", ".join(unknown),
        known=", ".join(FILTERS),
    )


# --- choosing and applying ----------------------------------------------------------------------------------


def find(name: object) -> Filter:
    """Return the filter called ``name``, or raise `FilterError` with the names that exist."""
    found = FILTERS.get(name) if isinstance(name, str) else None
    if found is None:
        raise FilterError(
            N_("filter {name} is unknown; known: {known}"), name=shown(name), known=", ".join(FILTERS)
        )
    return found


def checked_parameters(name: str, given: Mapping[str, object]) -> dict[str, Number]:
    """Return the parameters of filter ``name``: those ``given``, checked, and the defaults of the others.

    Optional parameters that are not given are left out.
    """
    chosen = find(name)
    if not isinstance(given, Mapping):
        raise FilterError(
            N_("the parameters of filter {filter!r} must be names with values, not {value}"),
            filter=name,
            value=shown(given),
        )
    known = [parameter.name for parameter in chosen.parameters]
    for parameter_name in given:
        if parameter_name not in known:
            raise _unknown_parameter(chosen, parameter_name)
    values: dict[str, Number] = {}
    for parameter in chosen.parameters:
        value = given.get(parameter.name, parameter.default)
        if value is None and parameter.name not in given:
            if parameter.optional:
                continue
            raise FilterError(
                N_("filter {filter!r} needs {filter}.{parameter}, a number from {low} to {high}"),
                filter=name,
                parameter=parameter.name,
                low=parameter.low,
                high=parameter.high,
            )
        values[parameter.name] = parameter.checked(name, value)
    if chosen.check_together is not None:
        chosen.check_together(**values)
    return values


def apply(image: np.ndarray, name: str, /, **params: object) -> np.ndarray:
    """Return a new image: ``image`` after filter ``name``; parameters left out take their defaults.

    Raises `FilterError` for an unknown filter or a parameter that is not allowed, `ImageError` for a wrong
    array.
    """
    return apply_steps(image, [(name, params)])


def parse_steps(
    filters: Sequence[str], params: Mapping[str, Mapping[str, object]] | None = None
) -> list[Step]:
    """Return the chosen filters, in order, each with all of its parameters: checked, defaults filled in.

    ``filters`` and ``params`` have the form of the HTTP interface: ``["sharpen", "edges"]`` and
    ``{"sharpen": {"intensity": 3}}``. Raises `FilterError` if either contains an error.
    """
    if isinstance(filters, str) or not isinstance(filters, Sequence):
        raise FilterError(
            N_("filters must be a list of names such as ['sharpen', 'edges'], not {value}"),
            value=shown(filters),
        )
    if not 1 <= len(filters) <= MAX_STEPS:
        raise FilterError(
            N_("{count} filters were given; 1 to {limit} are possible, of these: {known}"),
            count=len(filters),
            limit=MAX_STEPS,
            known=", ".join(FILTERS),
        )
    for name in filters:
        find(name)
    params = {} if params is None else params
    if not isinstance(params, Mapping):
        raise FilterError(
            N_("parameters must be given per filter, such as {{'sharpen': {{'intensity': 3}}}}, not {value}"),
            value=shown(params),
        )
    for name in params:
        find(name)
        if name not in filters:
            raise FilterError(
                N_(
                    "parameters are given for filter {filter!r}, "
                    "which is not among the filters chosen: {chosen}"
                ),
                filter=name,
                chosen=", ".join(filters),
            )
    return [(name, checked_parameters(name, params.get(name, {}))) for name in filters]


def checked_steps(steps: Sequence[tuple[str, Mapping[str, object]]]) -> list[Step]:
    """Return ``steps``, from any source, checked like the names and parameters in `parse_steps`."""
    checked: list[Step] = []
    for step in steps:
        try:
            name, params = step
        except (TypeError, ValueError) as error:
            raise FilterError(
                N_("a step must be a filter's name with its parameters, not {value}"),
                value=shown(step),
            ) from error
        checked.append((name, checked_parameters(name, params)))
    return checked


def apply_steps(image: np.ndarray, steps: Sequence[tuple[str, Mapping[str, object]]]) -> np.ndarray:
    """Return ``image`` after each of the ``steps``, in order; a new image also if there are none.

    All steps are checked before the first one is applied. Raises `FilterError` or `ImageError`.
    """
    result = check(image).copy(order="C")
    for name, values in checked_steps(steps):
        result = FILTERS[name].function(result, **values)
        applied.note(name)
    return result


def parse_value(filter_name: str, parameter_name: str, text: str) -> Number:
    """Return ``text`` (from a command line) as a number that this parameter of the filter accepts."""
    chosen = find(filter_name)
    for parameter in chosen.parameters:
        if parameter.name == parameter_name:
            try:
                number = parse_float(text)
            except ValueError as error:
                raise parameter.refused(filter_name, text) from error
            return parameter.checked(filter_name, number)
    raise _unknown_parameter(chosen, parameter_name)


def _unknown_parameter(chosen: Filter, parameter_name: object) -> FilterError:
    return FilterError(
        N_("filter {filter!r} has no parameter {parameter}; known: {known}"),
        filter=chosen.name,
        parameter=shown(parameter_name),
        known=", ".join(parameter.name for parameter in chosen.parameters),
    )
