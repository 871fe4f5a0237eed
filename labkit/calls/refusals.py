"""The errors for values that cannot travel, each with advice that loses nothing of the value.

The advice fits the type: a masked array is its numbers *and* its mask, a date is an integer *and* its unit.
Where a conversion rounds or drops something, the sentence says so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.core import exception_text
from labkit.core.errors import N_, CannotTravel

if TYPE_CHECKING:
    import numpy as np

Place = tuple[str | int, ...]
"""The place of a value, for error messages only: ("args", 1, "x") is shown as ``args[1]['x']``."""


class TooLarge(CannotTravel):
    """The message would be too large; found before anything was copied."""


_KNOWN = (bool, int, float, str, bytes, dict, list, tuple, set, frozenset)


def written(place: Place) -> str:
    """Return the place in Python's notation: ``args[1]['x']``."""
    return str(place[0]) + "".join(f"[{step!r}]" for step in place[1:])


def too_deep(place: Place, limit: int) -> CannotTravel:
    """Return the error for a value nested deeper than ``limit`` levels."""
    template = N_(
        "{where} is nested more than {limit} levels deep, or contains itself; send something flatter"
    )
    return CannotTravel(template, where=written(place[:3]) + "[...]", limit=limit)


def wrong_key(value: Mapping[Any, Any], place: Place) -> CannotTravel:
    """Return the error for a dict with a key that is neither str nor int."""
    key = next(key for key in value if type(key) not in (int, str))
    return CannotTravel(
        N_(
            "{where} has the key {key} of type {type}; the keys of a dict that travels must be str or int; "
            "send list({where}.items()), and make a dict of it on the other side"
        ),
        where=written(place),
        key=exception_text.repr_of(key)[:200],
        type=exception_text.type_name(type(key)),
    )


def numpys(numpy: Any) -> tuple[type, ...]:
    """Return the classes of arrays and of numbers in NumPy, as far as another thread has imported it."""
    return tuple(getattr(numpy, name) for name in ("ndarray", "generic") if hasattr(numpy, name))


def of_value(value: object, place: Place) -> CannotTravel:
    """Return the error for a value of a type that cannot travel."""
    kind = type(value)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpys(numpy)):
        return _of_numpy(value, place, numpy)
    known = next((base.__name__ for base in kind.__mro__[1:] if base in _KNOWN), "")
    if not known and (parts := _parts(kind)):
        return CannotTravel(
            N_(
                "{where} is of type {type}, which cannot travel in a message; "
                "send what it is made of, {how}: that loses nothing"
            ),
            where=written(place),
            type=exception_text.type_name(kind),
            how=parts.format(x=written(place)),
        )
    return CannotTravel(
        _special(kind) if known else _foreign(value, kind),
        where=written(place),
        type=exception_text.type_name(kind),
        known=known,
    )


def of_dtype(array: np.ndarray, place: Place) -> CannotTravel:
    """Return the error for an array whose dtype cannot travel."""
    template = _DTYPES.get(_kind_of(array), _OTHER_DTYPE)
    return CannotTravel(template, where=written(place), dtype=str(array.dtype))


def of_shape(array: np.ndarray, place: Place, limit: int) -> CannotTravel:
    """Return the error for an array with too many dimensions, or an impossible shape."""
    template = N_(
        "{where} is an array of shape {shape}; at most {limit} dimensions can travel in a message; "
        "send {where}.reshape(-1) and {where}.shape"
    )
    return CannotTravel(template, where=written(place), shape=array.shape, limit=limit)


# --- Python's types and subclasses of them ------------------------------------------------------------------


_PARTS = {
    "decimal.Decimal": "str({x})",
    "fractions.Fraction": "({x}.numerator, {x}.denominator)",
    "datetime.date": "{x}.isoformat()",
    "datetime.time": "({x}.isoformat(), str({x}.tzinfo), {x}.fold)",
    "datetime.datetime": "({x}.isoformat(), str({x}.tzinfo), {x}.fold)",
    "datetime.timedelta": "({x}.days, {x}.seconds, {x}.microseconds)",
    "uuid.UUID": "str({x})",
    "ipaddress.IPv4Address": "str({x})",
    "ipaddress.IPv6Address": "str({x})",
    "builtins.range": "({x}.start, {x}.stop, {x}.step)",
    "builtins.slice": "({x}.start, {x}.stop, {x}.step)",
    "builtins.mappingproxy": "dict({x})",
    "builtins.dict_keys": "list({x})",
    "builtins.dict_values": "list({x})",
    "builtins.dict_items": "list({x})",
    "collections.deque": "(list({x}), {x}.maxlen)",
    "array.array": "({x}.typecode, list({x}))",
    "re.Pattern": "({x}.pattern, {x}.flags)",
    "types.SimpleNamespace": "vars({x})",
}
"""For a class, an expression that travels and loses nothing of ``x``."""


def _parts(kind: type) -> str:
    """Return the expression for this very class; a subclass may hold more, so its advice is general."""
    found = _PARTS.get(f"{kind.__module__}.{kind.__qualname__}", "")
    if not found and hasattr(kind, "tocoo") and hasattr(kind, "toarray"):  # SciPy's sparse matrices
        return "({x}.shape, {x}.tocoo().data, {x}.tocoo().row, {x}.tocoo().col)"
    return found


def _special(kind: type) -> str:
    """Return the template for a subclass of a type that travels."""
    enum: Any = sys.modules.get("enum")
    if enum is not None and issubclass(kind, enum.Enum) and not issubclass(kind, int):
        return N_(
            "{where} is of type {type}, a special {known} that would arrive as a plain one; "
            "send {where}.value (to send {known}({where}) may be another value)"
        )
    if issubclass(kind, tuple) and hasattr(kind, "_asdict"):
        return N_(
            "{where} is of type {type}, a special {known} that would arrive as a plain one; "
            "send {known}({where}), or {where}._asdict() to keep the names"
        )
    if issubclass(kind, str) and kind.__str__ is not str.__str__ and not _is_numpys(kind):
        return N_(
            "{where} is of type {type}, a special {known} that would arrive as a plain one; "
            "send str.__str__({where}), because {type} has a __str__ of its own"
        )
    return N_(
        "{where} is of type {type}, a special {known} that would arrive as a plain one; "
        "send {known}({where}), and beside it whatever else it holds"
    )


def _is_numpys(kind: type) -> bool:
    return kind.__module__ == "numpy"


def _foreign(value: object, kind: type) -> str:
    """Return the template for any other type. Only the type is asked: attributes of a value are code."""
    enum: Any = sys.modules.get("enum")
    if issubclass(kind, complex):
        return N_(
            "{where} is of type {type}, which cannot travel in a message; "
            "send what it is made of, {where}.real and {where}.imag"
        )
    if callable(value):
        return N_(
            "{where} is of type {type}, and functions cannot travel as arguments or results; "
            "send a name or a number, and let a function on the other side choose by it"
        )
    if hasattr(kind, "__fspath__"):
        return N_(
            "{where} is of type {type}, which cannot travel in a message; send str({where}), "
            "or better the file's bytes: the other side may be another machine"
        )
    if kind is memoryview and not (value.format == "B" and value.ndim == 1):  # type: ignore[attr-defined]
        return N_(
            "{where} is of type {type}, which cannot travel in a message; "
            "send numpy.asarray({where}), which keeps the type of its items and its shape"
        )
    if issubclass(kind, bytearray | memoryview):
        return N_("{where} is of type {type}, which cannot travel in a message; send bytes({where})")
    if hasattr(kind, "to_dict") and hasattr(kind, "index"):  # pandas
        return N_(
            "{where} is of type {type}, which cannot travel in a message; "
            "send each column as a NumPy array, and its names and index beside them"
        )
    if hasattr(kind, "__array__"):
        return N_(
            "{where} is of type {type}, which cannot travel in a message; send numpy.asarray({where}), "
            "and beside it what that does not hold (names, units, a mask)"
        )
    if enum is not None and issubclass(kind, enum.Enum):
        return N_(
            "{where} is of type {type}, which cannot travel in a message; send {where}.name or {where}.value"
        )
    if hasattr(kind, "__dataclass_fields__"):
        return N_(
            "{where} is of type {type}, which cannot travel in a message; "
            "send what it is made of, dataclasses.asdict({where})"
        )
    if hasattr(kind, "read") and hasattr(kind, "close"):
        return N_(
            "{where} is of type {type}, an open file, which cannot travel in a message; send what it holds"
        )
    if hasattr(kind, "__next__"):
        return N_("{where} is of type {type}, which cannot travel in a message; send list({where})")
    return N_(
        "{where} is of type {type}, which cannot travel in a message; send what it is made of as "
        "None, bool, int, float, str, bytes, list, tuple, dict, set or NumPy arrays"
    )


# --- NumPy --------------------------------------------------------------------------------------------------


def _of_numpy(value: Any, place: Place, numpy: Any) -> CannotTravel:
    """Return the error for a NumPy number, or for an array of a special class."""
    kind = type(value)
    masked: Any = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    if issubclass(kind, masked):
        template = N_(
            "{where} is of type {type}, whose mask would be lost; send {where}.data and {where}.mask, "
            "or {where}.filled(...) with a value of your own for what is masked"
        )
    elif _kind_of(value) in _DTYPES:
        return of_dtype(value, place)
    elif known := next((base.__name__ for base in kind.__mro__[1:] if base in (str, bytes)), ""):
        template = N_(
            "{where} is of type {type}, a special {known} that would arrive as a plain one; "
            "send {known}({where})"
        )
        return CannotTravel(template, where=written(place), type=kind.__name__, known=known)
    elif issubclass(kind, numpy.ndarray):
        template = N_(
            "{where} is of type {type}, which cannot travel in a message; send numpy.asarray({where}), "
            "and beside it what that does not hold (names, units, a mask)"
        )
    else:
        template = _OTHER_DTYPE
    return CannotTravel(
        template, where=written(place), type=exception_text.type_name(kind), dtype=str(value.dtype)
    )


def _kind_of(array: np.ndarray) -> str:
    """Return the key of `_DTYPES` for an array, or a NumPy number, that cannot travel."""
    dtype = array.dtype
    if dtype.names is not None:
        return "fields"
    if dtype.kind in "US" and not array.ndim:
        return "text"
    return str(dtype.kind) if dtype.kind != "f" or dtype.itemsize > 8 else ""


_OTHER_DTYPE = N_(
    "{where} is of dtype {dtype}, which cannot travel in a message; "
    "convert it with .astype to a bool, an integer or a float of at most 64 bits, if that loses nothing"
)
_TEXTS = N_(
    "{where} is an array of dtype {dtype}, which cannot travel in a message; send {where}.tolist() "
    "and {where}.shape (.astype helps only if its texts are numbers)"
)
_DATES = N_(
    "{where} is of dtype {dtype}, which cannot travel in a message; send {where}.astype('int64') and "
    "str({where}.dtype), and convert back with .astype: NaT is kept, too"
)
_DTYPES = {
    "O": N_(
        "{where} is an array of dtype {dtype}, which cannot travel in a message; send {where}.tolist() "
        "and {where}.shape (.astype to a number or a text may lose None, fractions or digits)"
    ),
    "U": _TEXTS,
    "S": _TEXTS,
    "T": _TEXTS,
    "M": _DATES,
    "m": _DATES,
    "c": N_(
        "{where} is of dtype {dtype}, which cannot travel in a message; send {where}.real and {where}.imag "
        "(.astype to a float would lose the imaginary part)"
    ),
    "f": N_(
        "{where} is of dtype {dtype}, which cannot travel in a message; .astype('float64') rounds it: "
        "to keep the digits, send high = {where}.astype('float64') "
        "and low = ({where} - high).astype('float64')"
    ),
    "fields": N_(
        "{where} is of dtype {dtype}, which cannot travel in a message; send its fields one by one, as "
        "{{name: {where}[name] for name in {where}.dtype.names}} (.astype would lose the names)"
    ),
    "V": N_(
        "{where} is of dtype {dtype}, which cannot travel in a message; send {where}.tobytes(), "
        "{where}.shape and str({where}.dtype) (.astype cannot convert it)"
    ),
}
