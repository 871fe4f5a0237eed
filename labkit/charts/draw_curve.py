"""Times or speed-ups over a varied parameter: points with their spread, beside predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from labkit.charts import style
from labkit.charts.draw_guess import StartingBet, checked_guess, is_starting
from labkit.charts.style import AXIS_SPACE, LEGEND_LINE, MARGIN, TITLE_SPACE, WIDTH, Chart
from labkit.charts.table import Table
from labkit.core.errors import N_
from labkit.support.i18n import _, language
from labkit.support.palette import BLUE, GREEN, GRID, INK, ORANGE, PALE, PURPLE
from labkit.support.text import Spoken, significant
from labkit.support.timing import Timing

Curve = Mapping[Any, Timing]
"""Value of the parameter (a number) -> times."""
Curves = Mapping[str, Curve]
"""Name of a series -> its curve."""
Prediction = Mapping[Any, float]
"""Value of the parameter -> seconds (for `curve`) or speed-up factor (for `speed_up`)."""

PLOT_HEIGHT = 2.9
NUMBERS_WIDTH = 0.62
"""Inches left of the axes for their numbers and label."""
SERIES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"))

OVER = {
    "threads": N_("number of threads"),
    "processes": N_("number of processes"),
    "chunksize": N_("tasks that travel together (chunksize)"),
    "megabytes": N_("megabytes that travel"),
}
"""Parameters that can be varied, with the label of their axis."""
LOGARITHMIC = ("megabytes", "chunksize")
"""Parameters with two logarithmic axes: a straight line is a proportional cost, and a bend is visible."""
PREDICTED = {
    "guess": N_("your guess"),
    "amdahl": N_("Amdahl's prediction"),
    "ideal": N_("ideal: n times as fast with n"),
}
"""Names of predictions. A prediction named like a curve is the guess for that curve and has its colour."""


def curve(
    curves: Curves, over: str, predictions: Mapping[str, Prediction] | None = None, cores: int | None = None
) -> Chart:
    """Return the chart of seconds over the parameter: medians with minimum and maximum.

    ``over`` is one of `OVER`. ``predictions`` have names of `PREDICTED` or of curves. ``cores`` is marked if
    it is given and within the range of the parameter.
    """
    scale, unit, _short = _unit(curves)
    points = {
        name: {x: (t.median * scale, t.least * scale, t.most * scale) for x, t in times.items()}
        for name, times in curves.items()
    }
    scaled = _scaled(predictions, scale)
    title = _("Time and {what}").format(what=_(OVER[over]))
    return _draw(points, over, scaled, cores, title, unit)


def curve_table(
    curves: Curves, over: str, predictions: Mapping[str, Prediction] | None = None, cores: int | None = None
) -> Table:
    """Return the chart's numbers: a row for each value that was varied."""
    scale, _unit_, short = _unit(curves)
    rows: list[tuple[object, ...]] = []
    for x in _varied(curves, predictions or {}):
        row: list[object] = [_plain(x)]
        for times in curves.values():
            timing = times.get(x)
            row += (
                [None] * 3
                if timing is None
                else [timing.median * scale, timing.least * scale, timing.most * scale]
            )
        row += [None if x not in each else each[x] * scale for each in (predictions or {}).values()]
        rows.append(tuple(row))
    return Table(_columns(curves, over, predictions or {}, f" ({short})"), rows)


def speed_up(
    curves: Curves, over: str, predictions: Mapping[str, Prediction] | None = None, cores: int | None = None
) -> Chart:
    """Return the chart of how many times as fast each is as with the least that was tried."""
    points = {}
    for name, times in curves.items():
        base = _base(times)
        points[name] = {x: (base / t.median, base / t.most, base / t.least) for x, t in times.items()}
    title = _("Speed-up and {what}").format(what=_(OVER[over]))
    return _draw(points, over, _scaled(predictions), cores, title, _("times as fast"))


def speed_up_table(
    curves: Curves, over: str, predictions: Mapping[str, Prediction] | None = None, cores: int | None = None
) -> Table:
    """Return the chart's numbers: a row for each value that was varied."""
    rows: list[tuple[object, ...]] = []
    for x in _varied(curves, predictions or {}):
        row: list[object] = [_plain(x)]
        for times in curves.values():
            timing, base = times.get(x), _base(times)
            row += (
                [None] * 3
                if timing is None
                else [base / timing.median, base / timing.most, base / timing.least]
            )
        row += [each.get(x) for each in (predictions or {}).values()]
        rows.append(tuple(row))
    return Table(_columns(curves, over, predictions or {}, ""), rows)


def _unit(curves: Curves) -> tuple[float, str, str]:
    """Return (units in a second, the unit's name, its sign): milliseconds below half a second."""
    most = max((timing.most for times in curves.values() for timing in times.values()), default=1.0)
    return (1.0, _("seconds"), "s") if most >= 0.5 else (1000.0, _("milliseconds"), "ms")


def _scaled(predictions: Mapping[str, Prediction] | None, scale: float = 1.0) -> dict[str, Prediction]:
    """Return checked predictions in the chart's unit."""
    return {
        name: {x: _times(checked_guess(y), scale) for x, y in each.items()}
        for name, each in (predictions or {}).items()
    }


def _times(guess: float, scale: float) -> float:
    return StartingBet(guess * scale) if isinstance(guess, StartingBet) else guess * scale


def _varied(curves: Curves, predictions: Mapping[str, Prediction]) -> list[float]:
    return sorted({x for series in [*curves.values(), *predictions.values()] for x in series})


def _plain(x: float) -> float:
    return int(x) if float(x).is_integer() else float(x)


def _columns(curves: Curves, over: str, predictions: Mapping[str, Prediction], unit: str) -> tuple[str, ...]:
    columns = [_(OVER[over])]
    for name in curves:
        columns += [name + unit, _("least"), _("most")]
    return (*columns, *(_predicted_name(name, each) for name, each in predictions.items()))


def _base(times: Curve) -> float:
    return times[min(times)].median if times else 1.0


Points = dict[str, dict[float, tuple[float, float, float]]]
"""Series -> what was varied -> (middle, lower end, upper end)."""


def _draw(
    points: Points,
    over: str,
    predictions: Mapping[str, Prediction],
    cores: int | None,
    title: str,
    y_label: str,
) -> Chart:
    xs = sorted({x for series in [*points.values(), *predictions.values()] for x in series})
    if cores is not None and not (xs and xs[0] <= cores <= xs[-1]):
        cores = None  # its line would lie outside the figure
    entries = _entries(points, predictions, cores)
    labels = [label for _handle, label in entries]
    room = WIDTH - NUMBERS_WIDTH - MARGIN
    below = AXIS_SPACE + LEGEND_LINE * (style.legend_shape(labels, room)[1] if labels else 0)
    chart = style.new_chart(TITLE_SPACE + PLOT_HEIGHT + below + MARGIN)
    axes = style.place(chart, NUMBERS_WIDTH, TITLE_SPACE, room, PLOT_HEIGHT)
    style.dress(axes, title, _(OVER[over]), y_label)
    chart.labkit_alt = _describe(title, points, predictions)
    if not xs:
        style.write_empty(axes, _("nothing was measured"))
        axes.set_xticks([])
        return chart
    axes.grid(axis="y", color=GRID)
    axes.set_xscale("log", base=2)
    axes.set_xticks(xs, [f"{Spoken(x):g}" for x in xs])
    axes.minorticks_off()
    axes.set_xlim(xs[0] / 1.2, xs[-1] * 1.2)
    for prediction, name in zip(predictions.values(), predictions, strict=True):
        line = sorted(prediction.items())
        axes.plot(
            [x for x, _y in line],
            [y for _x, y in line],
            label=f"_{name}",
            **_predicted_style(name, list(points)),
        )
    for (name, series), (colour, marker) in zip(points.items(), SERIES, strict=False):
        order = sorted(series)
        middles = [series[x][0] for x in order]
        ends = [
            [middle - series[x][1] for x, middle in zip(order, middles, strict=True)],
            [series[x][2] - middle for x, middle in zip(order, middles, strict=True)],
        ]
        axes.errorbar(
            order,
            middles,
            ends,
            label=name,
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.6,
            capsize=4,
        )
    least = min((y for series in points.values() for ends in series.values() for y in ends), default=0.0)
    if over in LOGARITHMIC and least > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _at: f"{Spoken(y):g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    if cores is not None:
        axes.axvline(cores, color=INK, linewidth=1.2, linestyle=(0, (1, 2)), label="_cores")
    style.legend_below(axes, [handle for handle, _label in entries], labels)
    return chart


DASHES = {"guess": (0, (4, 2)), "amdahl": (0, (6, 2, 1, 2)), "ideal": (0, (1, 1.5))}
GUESS_DASH = 4.0


def _predicted_name(name: str, prediction: Prediction) -> str:
    if is_starting(prediction.values()):
        return _("starting bet") if name in PREDICTED else _("starting bet: {name}").format(name=name)
    return _(PREDICTED[name]) if name in PREDICTED else _("your guess: {name}").format(name=name)


def _predicted_style(name: str, curves: list[str]) -> dict[str, Any]:
    if name in PREDICTED:
        marker = "x" if name == "guess" else ""
        return {"color": PALE, "linestyle": DASHES[name], "marker": marker, "linewidth": 1.6}
    number = curves.index(name)
    # Equal guesses alternate on one line, instead of one hiding the other.
    dashes = (number * GUESS_DASH, (GUESS_DASH, (len(curves) - 1) * GUESS_DASH or GUESS_DASH))
    return {"color": SERIES[number][0], "linestyle": dashes, "marker": "x", "linewidth": 1.6}


def _from_its_start(line: dict[str, Any]) -> dict[str, Any]:
    """Return the style with dashes from the start: a short legend line must not begin with a gap."""
    return {**line, "linestyle": (0, line["linestyle"][1])}


def _entries(
    points: Points, predictions: Mapping[str, Prediction], cores: int | None
) -> list[tuple[Artist, str]]:
    """Return the legend: measurements, predictions, and the mark of the cores."""
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=colour, marker=marker, markersize=6), _("measured: {name}").format(name=name))
        for name, (colour, marker) in zip(points, SERIES, strict=False)
    ]
    entries += [
        (Line2D([], [], **_from_its_start(_predicted_style(name, list(points)))), _predicted_name(name, each))
        for name, each in predictions.items()
    ]
    if cores is not None:
        dotted = Line2D([], [], color=INK, linestyle=(0, (1, 2)))
        entries.append((dotted, _("cores of this machine: {n}").format(n=cores)))
    return entries


def _describe(title: str, points: Points, predictions: Mapping[str, Prediction]) -> str:
    separator = "; " if language() == "es" else ", "  # a comma is in the numbers
    parts = []
    for name, series in points.items():
        told = separator.join(f"{Spoken(x):g} → {significant(series[x][0])}" for x in sorted(series))
        parts.append(f"{name}: {told}")
    for name, prediction in predictions.items():
        told = separator.join(f"{Spoken(x):g} → {significant(y)}" for x, y in sorted(prediction.items()))
        parts.append(f"{_predicted_name(name, prediction)}: {told}")
    return f"{title}. " + "; ".join(parts) + "." if parts else f"{title}: " + _("nothing was measured") + "."
