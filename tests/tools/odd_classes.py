"""Functions whose exceptions, results or arguments cannot be pickled and unpickled."""

from __future__ import annotations

from typing import Any


class NeedsCode(Exception):
    """Pickle knows positional arguments only."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class Turns(Exception):
    """Unpickles as a text."""

    def __reduce__(self) -> Any:
        return str, ("text",)


class Exits:
    """Its copies end the process that makes them."""

    def __reduce__(self) -> Any:
        return exit, (3,)


def needs_code() -> None:
    raise NeedsCode("no coins", code=5)


def turns() -> None:
    raise Turns("no more")


def odd_syntax() -> None:
    details: Any = ("page.txt", 3, 5, b"bytes")
    raise SyntaxError("bad", details)


def result_exits() -> list[Exits]:
    return [Exits()]


def lambda_inside() -> Any:
    return lambda: 1


def size_of(value: object) -> int:
    return 1
