"""Sentences about measured figures, computed from them: prose beside a figure cannot know this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from labkit.charts import Guessed
from labkit.support.i18n import _, ngettext
from labkit.support.text import Spoken
from labkit.support.timing import Timing

Key = TypeVar("Key", int, str)


def faster(times: Mapping[Key, Timing], than: Key, name: str = "", cores: int | None = None) -> None:
    """Print for each way but ``than`` how many times as fast it was, and whether the spread allows that.

    Keys are numbers (of threads, of processes) or names of `labkit.charts.Guessed`. A difference counts if
    every run of one was faster than every run of the other. More than ``cores`` times as fast is no success.
    """
    base = times[than]
    for key, timing in times.items():
        if key == than:
            continue
        factor = base.median / timing.median
        if timing.most < base.least:
            reading = _("{what}: {factor:.2f} times as fast as {than}.")
        elif timing.least > base.most:
            reading = _("{what}: slower than {than}, {factor:.2f} times as fast.")
        else:
            reading = _("{what}: {factor:.2f} times as fast as {than}, and the spread allows no difference.")
        what = ": ".join(filter(None, (name, _called(key))))
        told = reading.format(what=what, than=_called(than), factor=Spoken(factor))
        if cores is not None and factor > 1.05 * cores:
            text = ngettext(
                "That is more than {n} core can do: the run with one was slow, so measure again.",
                "That is more than {n} cores can do: the run with one was slow, so measure again.",
                cores,
            )
            told += " " + text.format(n=cores)
        print(told)


def _called(key: int | str) -> str:
    if isinstance(key, int):
        return _("with {n}").format(n=key)
    return Guessed(key, None, Timing((0.0,))).name
