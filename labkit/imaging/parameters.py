"""What a filter's parameters may be: numbers, each with a range.

Only numbers are accepted, never text, bool, NaN or infinity. Each refusal names the filter, the parameter,
the value and what is allowed.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.core.errors import N_, FilterError

if TYPE_CHECKING:
    import numpy as np

Number = int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a filter takes, from ``low`` to ``high``; without ``default`` it must be given.

    An ``optional`` one may be left out. The filter then does without it.
    """

    name: str
    low: Number
    high: Number
    default: Number | None = None
    whole: bool = False
    """Only whole numbers (3 and 3.0, not 3.5)."""
    optional: bool = False

    def checked(self, filter_name: str, value: object) -> Number:
        """Return ``value`` as a plain int or float, or raise `FilterError`."""
        # bool is a number in Python. NumPy's numbers are, too; they become plain ones, which can travel.
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self.refused(filter_name, value)
        given: Any = value
        if not self.low <= given <= self.high:  # False for NaN, too
            raise self.refused(filter_name, value)
        if self.whole and given != int(given):
            raise self.refused(filter_name, value)
        return int(given) if self.whole else float(given)

    def refused(self, filter_name: str, value: object) -> FilterError:
        """Return the error that explains what this parameter allows."""
        if self.whole:
            template = N_(
                "{filter}.{parameter} = {value} is not allowed: a whole number from {low} to {high} is"
            )
        else:
            template = N_("{filter}.{parameter} = {value} is not allowed: a number from {low} to {high} is")
        return FilterError(
            template,
            filter=filter_name,
            parameter=self.name,
            value=shown(value),
            low=self.low,
            high=self.high,
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as `labkit.imaging.filters.apply` finds it.

    ``function`` takes the image and one keyword argument per parameter.
    """

    name: str
    function: Callable[..., np.ndarray]
    parameters: tuple[Parameter, ...]
    holds_gil: bool = False
    """True if other Python threads cannot run while it computes."""
    check_together: Callable[..., None] | None = None
    """Takes the parameters, each within its range; raises `FilterError` if their combination is wrong."""


def shown(value: object) -> str:
    """Return the repr of ``value``, which may be anything, cut to 80 characters for an error message."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python is willing to write
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."
