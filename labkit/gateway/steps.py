"""The filters of a request: checked, and described for ``/openapi.json``. Pure.

``labkit.imaging`` raises one sentence for a wrong filter or parameter. A caller of HTTP also needs the field
and what may stand there, so the same table is gone through here, field by field. Values are shown as JSON has
them, not as Python does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic.config import JsonDict

from labkit.core.errors import N_, FilterError
from labkit.gateway.problems import Problem, wrapping
from labkit.gateway.reasons import shown
from labkit.imaging.filters import FILTERS, Step, parse_steps
from labkit.imaging.parameters import Filter, Parameter

NEXT = N_("GET /docs lists the filters with their parameters and ranges")
NAMES: JsonDict = {"enum": list(FILTERS)}
"""What JSON Schema calls the name of a filter."""


def _number(parameter: Parameter) -> JsonDict:
    schema: JsonDict = {
        "type": "integer" if parameter.whole else "number",
        "minimum": parameter.low,
        "maximum": parameter.high,
    }
    return schema if parameter.default is None else {**schema, "default": parameter.default}


def _of_filter(chosen: Filter) -> JsonDict:
    required: list[Any] = [
        each.name for each in chosen.parameters if each.default is None and not each.optional
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {each.name: _number(each) for each in chosen.parameters},
        **({"required": required} if required else {}),
    }


PARAMETERS: JsonDict = {
    "additionalProperties": False,
    "properties": {name: _of_filter(chosen) for name, chosen in FILTERS.items()},
}
"""JSON Schema of the parameters by filter."""


def table() -> str:
    """Return all filters with their parameters and ranges as one line."""
    return "; ".join(
        f"{name} ({', '.join(f'{p.name} {p.low} to {p.high}' for p in chosen.parameters)})"
        for name, chosen in FILTERS.items()
    )


def steps_of(filters: Sequence[str], params: Any, *, as_text: bool = False) -> list[Step]:
    """Return the chosen filters with all of their parameters.

    ``as_text``: the filters came as one text, so no entry of it has a place. Raises Problem (422) for the
    first field that is wrong.
    """
    for place, name in enumerate(filters):
        if name not in FILTERS:
            raise _unknown_filter("filters" if as_text else f"filters[{place}]", name)
    for problem in _wrong_parameters(filters, {} if params is None else params):
        raise problem
    try:
        return parse_steps(filters, params)
    except FilterError as error:  # what only several values together get wrong
        problem = wrapping(error, 422, "filter", NEXT)
        problem.field = f"filter_params.{error.params['filter']}" if "filter" in error.params else "filters"
        raise problem from error


def _wrong_parameters(filters: Sequence[str], params: Any) -> Iterator[Problem]:
    if not isinstance(params, Mapping):
        yield _no_object("filter_params", params)
        return
    for name, values in params.items():
        field = f"filter_params.{str(name)[:60]}"
        if name not in FILTERS:
            yield _unknown_filter(field, name)
        elif name not in filters:
            yield Problem(
                422,
                "filter",
                N_("there are parameters for {filter}, which is not among the filters of this request"),
                field=field,
                allowed=N_("{chosen}"),
                next_step=N_("add {filter} to the filters, or leave its parameters out"),
                filter=name,
                chosen=", ".join(filters),
            )
        elif not isinstance(values, Mapping):
            yield _no_object(field, values)
        else:
            yield from _wrong_values(FILTERS[name], field, values)
    for name in filters:
        for parameter in FILTERS[name].parameters:
            if (
                parameter.default is None
                and not parameter.optional
                and parameter.name not in params.get(name, {})
            ):
                yield _problem(name, parameter, N_("{field} is missing"))


def _wrong_values(chosen: Filter, field: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    known = {parameter.name: parameter for parameter in chosen.parameters}
    for name, value in values.items():
        parameter = known.get(name)
        if parameter is None:
            yield Problem(
                422,
                "filter",
                N_("filter {filter} has no parameter {given}"),
                field=f"{field}.{name[:60]}",
                allowed=N_("{known}"),
                next_step=NEXT,
                filter=chosen.name,
                given=shown(name),
                known=", ".join(known),
            )
            continue
        try:
            parameter.checked(chosen.name, value)
        except FilterError:
            yield _problem(chosen.name, parameter, N_("{field} is {given}, which is not allowed"), value)


def _problem(name: str, parameter: Parameter, template: str, value: object = None) -> Problem:
    problem = Problem(
        422,
        "filter",
        template,
        field=f"filter_params.{name}.{parameter.name}",
        allowed=N_("a whole number from {low} to {high}")
        if parameter.whole
        else N_("a number from {low} to {high}"),
        next_step=NEXT,
        given=shown(value),
        low=parameter.low,
        high=parameter.high,
    )
    problem.params["field"] = problem.field
    return problem


def _unknown_filter(field: str, name: object) -> Problem:
    return Problem(
        422,
        "filter",
        N_("there is no filter {given}"),
        field=field,
        allowed=N_("{known}"),
        next_step=NEXT,
        given=shown(name),
        known=", ".join(FILTERS),
    )


def _no_object(field: str, value: object) -> Problem:
    problem = Problem(
        422,
        "filter",
        N_("{field} is {given}, which is no JSON object"),
        field=field,
        allowed=N_('parameters by filter, such as {{"sharpen": {{"intensity": 3}}}}')
        if field == "filter_params"
        else N_("an object, in curly brackets"),
        next_step=NEXT,
        given=shown(value),
    )
    problem.params["field"] = field
    return problem
