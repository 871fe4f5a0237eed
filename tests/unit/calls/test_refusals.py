"""Advice for values that cannot travel: what is sent as advised comes back without loss."""

from __future__ import annotations

import array
import dataclasses
import datetime
import decimal
import enum
import fractions
import re
import sys
import types
import uuid
from collections import deque, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labkit.calls import pickled, refusals
from labkit.calls.serialization import decode_value, encode_call, encode_value
from labkit.core.errors import CannotTravel


class Word(str, enum.Enum):  # noqa: UP042 - the older form passes for a str in other places
    YES = "yes"


class Side(enum.Enum):
    LEFT = (1, 2)


class Loud(str):
    def __str__(self) -> str:
        return "!!!"


@dataclasses.dataclass
class Cup:
    size: int
    kind: str


Point = namedtuple("Point", "x y")

MASKED = np.ma.masked_array([1.5, 2.5, 3.5], [False, True, False])
COMPLEX = np.array([1 + 2j, 3 - 4j])
DATES = np.array(["2024-01-01", "NaT", "1969-12-31"], "M8[D]")
BIG_ENDIAN_DATES = DATES.astype(">M8[s]")
SPANS = np.array([5, "NaT"], "m8[ms]")
FIELDS = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])
LONG = np.array([1, 3], np.longdouble) / 3
OBJECTS = np.array([None, 1, "two"], object)
TEXTS = np.array(["uno", "dos"])
ITEMS = memoryview(array.array("d", [1.5, 2.5]))


@pytest.mark.parametrize(
    ("value", "advice", "send", "restore"),
    [
        (MASKED, ["{x}.data", "{x}.mask"], lambda x: [x.data, x.mask], lambda got: np.ma.masked_array(*got)),
        (COMPLEX, ["{x}.real", "{x}.imag"], lambda x: [x.real, x.imag], lambda got: got[0] + 1j * got[1]),
        (3 + 4j, ["{x}.real", "{x}.imag"], lambda x: [x.real, x.imag], lambda got: complex(*got)),
        (
            np.complex64(3 + 4j),
            ["{x}.real", "{x}.imag"],
            lambda x: [x.real, x.imag],
            lambda got: np.complex64(complex(*got)),
        ),
        *[
            (
                dates,
                ["{x}.astype('int64')", "str({x}.dtype)"],
                lambda x: [x.astype("int64"), str(x.dtype)],
                lambda got: got[0].astype(got[1]),
            )
            for dates in (DATES, BIG_ENDIAN_DATES, SPANS, DATES[0], SPANS[1])
        ],
        (
            FIELDS,
            ["{{name: {x}[name] for name in {x}.dtype.names}}"],
            lambda x: {name: x[name] for name in x.dtype.names},
            lambda got: np.array([*zip(*got.values(), strict=True)], FIELDS.dtype),
        ),
        (
            LONG,
            ["high = {x}.astype('float64')", "low = ({x} - high).astype('float64')"],
            lambda x: [high := x.astype("float64"), (x - high).astype("float64")],
            lambda got: got[0].astype(np.longdouble) + got[1],
        ),
        (OBJECTS, ["{x}.tolist()"], lambda x: x.tolist(), lambda got: np.array(got, object)),
        (TEXTS, ["{x}.tolist()"], lambda x: x.tolist(), np.array),
        (ITEMS, ["numpy.asarray({x})"], np.asarray, memoryview),
        (
            np.arange(32.0).reshape(2, 2, 2, 2, 2),
            ["{x}.reshape(-1)", "{x}.shape"],
            lambda x: [x.reshape(-1), x.shape],
            lambda got: got[0].reshape(got[1]),
        ),
        (Word.YES, ["{x}.value"], lambda x: x.value, Word),
        (Side.LEFT, ["{x}.value"], lambda x: x.value, Side),
        (Loud("quiet"), ["str.__str__({x})"], str.__str__, Loud),
        (Point(1, 2), ["{x}._asdict()"], lambda x: dict(x._asdict()), lambda got: Point(**got)),
        (Cup(2, "tea"), ["dataclasses.asdict({x})"], dataclasses.asdict, lambda got: Cup(**got)),
        (
            np.frombuffer(b"abcdefgh", "V4"),
            ["{x}.tobytes()", "str({x}.dtype)"],
            lambda x: [x.tobytes(), str(x.dtype)],
            lambda got: np.frombuffer(*got),
        ),
    ],
)
def test_the_advice_loses_nothing(
    value: Any, advice: list[str], send: Callable[[Any], Any], restore: Callable[[Any], Any]
) -> None:
    with pytest.raises(CannotTravel) as refusal:
        encode_call("m:f", [{"x": value}], {})
    sentence = str(refusal.value)
    for part in advice:
        assert part.format(x="args[0]['x']") in sentence
    back = restore(decode_value(encode_value(send(value))))
    if isinstance(value, np.ma.MaskedArray):
        assert (back.mask == value.mask).all() and (back.data == value.data).all()
    elif isinstance(value, np.ndarray | np.generic):
        assert back.dtype == value.dtype and np.asarray(back).tolist() == np.asarray(value).tolist()
    else:
        assert back == value and type(back) is type(value)


class Hidden:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise SystemExit(3)


class Nosy:
    def __getattr__(self, name: str) -> Any:
        raise SystemExit(4)


class Nameless(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        raise SystemExit(5)


class Anonymous(metaclass=Nameless):
    pass


CODED = [([Hidden], "Hidden"), ([Nosy], "Nosy"), ([Anonymous], "Anonymous")]


@pytest.mark.parametrize(("kind", "name"), CODED)
def test_the_values_own_code_does_not_run(kind: list[Any], name: str) -> None:
    with pytest.raises(CannotTravel, match=f"^value is of type {name}"):
        encode_value(kind[0]())


RESULTS = [3j, MASKED, COMPLEX, DATES, {1, 2j}, open, np.zeros((1,) * 5), Point(1, 2)]


@pytest.mark.parametrize("value", RESULTS)
def test_a_result_is_not_said_to_travel_to_a_worker(value: Any) -> None:
    with pytest.raises(CannotTravel) as refusal:
        encode_value(value)
    assert "worker" not in str(refusal.value)


class Table:
    """A small data frame: as pandas' own, it has names and an index beside its numbers."""

    index = ("monday", "tuesday")

    def to_dict(self) -> dict[str, list[int]]:
        return {"cups": [1, 2]}

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([[1], [2]])


def test_a_table_is_its_columns_its_names_and_its_index() -> None:
    with pytest.raises(CannotTravel, match="each column as a NumPy array, and its names and index beside"):
        encode_value(Table())


@pytest.mark.parametrize(
    ("value", "advice", "restore"),
    [
        (decimal.Decimal("1.10"), "str(value)", lambda got: decimal.Decimal(got)),
        (decimal.Decimal("-NaN"), "str(value)", lambda got: decimal.Decimal(got)),
        (
            fractions.Fraction(1, 3),
            "(value.numerator, value.denominator)",
            lambda got: fractions.Fraction(*got),
        ),
        (datetime.date(2024, 2, 29), "value.isoformat()", datetime.date.fromisoformat),
        (
            datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.UTC),
            "(value.isoformat(), str(value.tzinfo), value.fold)",
            lambda got: datetime.datetime.fromisoformat(got[0]).replace(fold=got[2]),
        ),
        (
            datetime.timedelta(-1, 2, 3),
            "(value.days, value.seconds, value.microseconds)",
            lambda got: datetime.timedelta(*got),
        ),
        (uuid.UUID(int=7), "str(value)", uuid.UUID),
        (range(1, 9, 3), "(value.start, value.stop, value.step)", lambda got: range(*got)),
        (slice(None, 2), "(value.start, value.stop, value.step)", lambda got: slice(*got)),
        (types.MappingProxyType({"a": 1}), "dict(value)", lambda got: types.MappingProxyType(got)),
        ({"a": 1}.keys(), "list(value)", lambda got: dict.fromkeys(got).keys()),
        (deque([1, 2], 5), "(list(value), value.maxlen)", lambda got: deque(*got)),
        (array.array("f", [0.1]), "(value.typecode, list(value))", lambda got: array.array(*got)),
        (re.compile("a+", re.IGNORECASE), "(value.pattern, value.flags)", lambda got: re.compile(*got)),
        (types.SimpleNamespace(a=1), "vars(value)", lambda got: types.SimpleNamespace(**got)),
    ],
)
def test_a_value_of_the_standard_library_has_advice_that_restores_it(
    value: Any, advice: str, restore: Callable[[Any], Any]
) -> None:
    with pytest.raises(CannotTravel) as refused:
        encode_value(value)
    assert f"send what it is made of, {advice}: that loses nothing" in str(refused.value)
    sent = eval(advice, {"value": value})
    got = restore(decode_value(encode_value(sent)))
    assert type(got) is type(value)
    assert got == value or str(got) == str(value)


def test_a_sparse_matrix_keeps_shape_places_and_numbers() -> None:
    class Sparse:
        """As much of SciPy's sparse matrices as is needed to tell them."""

        def tocoo(self) -> None:
            """Return the coordinates and numbers."""

        def toarray(self) -> None:
            """Return a dense array."""

    with pytest.raises(CannotTravel, match=r"made of, \(args\[0\]\.shape, args\[0\]\.tocoo\(\)\.data, "):
        encode_call("m:f", (Sparse(),), {})


def test_a_subclass_that_may_hold_more_has_no_advice_that_drops_it() -> None:
    class Priced(decimal.Decimal):
        currency = "EUR"

    with pytest.raises(CannotTravel) as refused:
        encode_value(Priced(1))
    assert "loses nothing" not in str(refused.value)


@pytest.mark.parametrize("mapping", [{1.5: "a", 1: "b"}, {None: 1}, {(1, 2): 3}, {True: 1}])
def test_a_dict_with_other_keys_travels_as_its_items(mapping: dict[Any, Any]) -> None:
    with pytest.raises(CannotTravel, match=r"must be str or int; send list\(value\.items\(\)\)"):
        encode_value(mapping)
    assert dict(decode_value(encode_value(list(mapping.items())))) == mapping


@pytest.mark.parametrize(
    "texts", [np.empty((0, 3), "U2"), np.array([["a"], ["b"]]), np.array([[[1], None]], object)]
)
def test_an_array_of_objects_or_texts_keeps_its_shape(texts: np.ndarray) -> None:
    with pytest.raises(CannotTravel, match=r"send value\.tolist\(\) and value\.shape"):
        encode_value(texts)
    items, shape = decode_value(encode_value((texts.tolist(), texts.shape)))
    assert shape == texts.shape and items == texts.tolist()


def test_numpy_that_another_thread_is_importing_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))  # Python has begun to import it
    with pytest.raises(CannotTravel, match="of type object"):
        encode_value(object())
    assert type(refusals.of_value(object(), (0,))) is CannotTravel
    assert not pickled._is_plain(object())
