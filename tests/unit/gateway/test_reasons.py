"""Why a request has the wrong shape: sentences of ours, in both languages, for what pydantic finds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from labkit.gateway.reasons import MOST_SHOWN, sentence
from labkit.gateway.requests import BatchRequest, CompareRequest, ScaleRequest
from labkit.support.i18n import _, in_language

WRONG: list[tuple[type[BaseModel], Any, str, str, str]] = [
    (BatchRequest, {}, "F is missing", "", "falta F"),
    (
        BatchRequest,
        {"filters": ["edges"], "filter": 1},
        "this request has no field F",
        "",
        "esta petición no tiene el campo F",
    ),
    (
        BatchRequest,
        {"filters": []},
        "F has 0 entries, which is too few",
        "at least 1",
        "F tiene 0 elementos, que son demasiado pocos",
    ),
    (
        BatchRequest,
        {"filters": ["blur"] * 21},
        "F has 21 entries, which is too many",
        "at most 20",
        "F tiene 21 elementos, que son demasiados",
    ),
    (
        BatchRequest,
        {"filters": ["blur"], "images": [""]},
        "F is too short a text",
        "length: at least 1",
        "F es un texto demasiado corto",
    ),
    (
        BatchRequest,
        {"filters": ["blur"], "images": ["x" * 201]},
        "F is too long a text",
        "length: at most 200",
        "F es un texto demasiado largo",
    ),
    (
        BatchRequest,
        {"filters": "edges"},
        'F is "edges", which is no list',
        'a list, such as ["sharpen", "edges"]',
        'F es "edges", que no es una lista',
    ),
    (
        BatchRequest,
        {"filters": [3]},
        "F is 3, which is no text",
        "a text in quotes",
        "F es 3, que no es un texto",
    ),
    (
        BatchRequest,
        {"filters": ["blur"], "filter_params": {"blur": 3}},
        "F is 3, which is no JSON object",
        "an object, in curly brackets",
        "F es 3, que no es un objeto JSON",
    ),
    (
        BatchRequest,
        {"filters": ["blur"], "count": "5"},
        'F is "5", which is no whole number',
        "a whole number, without quotes",
        'F es "5", que no es un número entero',
    ),
    (
        ScaleRequest,
        {"workers": 2.5},
        "F is 2.5, which is no whole number",
        "a whole number, without quotes",
        "F es 2.5, que no es un número entero",
    ),
    (
        ScaleRequest,
        {"workers": -1},
        "F is -1, which is too small",
        "at least 0",
        "F es -1, que es demasiado pequeño",
    ),
    (
        CompareRequest,
        {"filters": ["blur"], "rounds": 11},
        "F is 11, which is too large",
        "at most 10",
        "F es 11, que es demasiado grande",
    ),
    (
        ScaleRequest,
        [4],
        "F is [4], which is no JSON object",
        "an object, in curly brackets",
        "F es [4], que no es un objeto JSON",
    ),
]


def first_error(model: type[BaseModel], body: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return dict(caught.value.errors()[0])


@pytest.mark.parametrize(("model", "body", "english", "allowed", "spanish"), WRONG)
def test_a_wrong_shape_is_explained_in_both_languages(
    model: type[BaseModel], body: Any, english: str, allowed: str, spanish: str
) -> None:
    found, params = sentence(first_error(model, body))
    for lang, expected in (("en", english), ("es", spanish)):
        with in_language(lang):
            assert _(found.template).format(field="F", **params) == expected
    assert found.allowed.format(**params) == allowed


def test_a_kind_without_a_sentence_keeps_its_reason() -> None:
    found, params = sentence({"type": "is_instance_of", "msg": "Input should be a date", "input": 1})
    assert found.template.format(field="when", **params) == "when: Input should be a date"


def test_a_number_in_the_address_that_is_none_is_explained() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(float).validate_python("soon")
    found, params = sentence(dict(caught.value.errors()[0]))
    assert found.template.format(field="wait", **params) == 'wait is "soon", which is no number'


def test_a_text_instead_of_a_file_is_explained() -> None:
    error = {"type": "value_error", "msg": "Value error, Expected UploadFile, received: <class 'str'>"}
    found, params = sentence({**error, "input": "photo.jpg", "ctx": {"error": {}}})
    assert found.template.format(field="image", **params).endswith("-F image=@photo.jpg")


def test_a_long_value_is_shortened_and_an_odd_one_named() -> None:
    assert len(sentence({"type": "int_type", "input": "x" * 10_000})[1]["given"]) == MOST_SHOWN
    assert sentence({"type": "int_type", "input": object()})[1]["given"] == "object"
