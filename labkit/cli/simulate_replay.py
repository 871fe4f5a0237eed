"""``simulate --replay EVENTS.jsonl``: a recorded run in the simulator, as it was or with something changed.

The run as it was is always replayed, too: how far that is from the recording is the error of everything else
that the replay says.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from labkit.cli import output
from labkit.cli.commands import UsageError
from labkit.cli.simulate_policy import load
from labkit.core.errors import N_, InvalidInput
from labkit.core.history import KINDS, POLICY_ERROR, History, encode_event
from labkit.simulation import Run, replay
from labkit.simulation.replay import Figures
from labkit.support.atomic_files import atomic_write
from labkit.support.i18n import _, ngettext
from labkit.support.settings import Settings
from labkit.support.text import seconds

CHARTS = (".png", ".svg")
MOST_SHARES = 8


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Replay and compare; return 0 if every promise was kept and the policy never failed."""
    history = _read(options.replay)
    try:
        recorded = replay.read(history)
    except InvalidInput as error:
        raise _cannot(options.replay, error) from None
    chart = _chart_file(options.chart)
    _note(history)
    usual = recorded.policy or "least_busy"
    asked = options.policy or usual
    same = _replayed(recorded, recorded.scenario, _policy_of_recording(usual, asked, settings), options.seed)
    histories = {_("recorded"): replay.from_first_task(history.events)}
    histories[_("replayed")] = replay.history_of(same)
    apart = replay.distance(*histories.values())
    scenario = replay.changed(recorded, options.workers, options.without_faults)
    what_if = None
    if scenario is not recorded.scenario or asked != usual:
        what_if = _replayed(recorded, scenario, load(asked, settings.work), options.seed)
        histories[_("what if")] = replay.history_of(what_if)
    figures = {name: replay.figures(one) for name, one in histories.items()}
    if options.json:
        output.as_json(_as_json(figures, apart, what_if or same), indent=None)
    else:
        _show(figures, apart)
    if chart is not None:
        _draw(chart, histories)
        if not options.json:
            output.line(_("chart: {file}").format(file=chart))
    return _judge([one for one in (same, what_if) if one is not None], asked)


# --- input --------------------------------------------------------------------------------------------------


def _read(file: Path) -> History:
    try:
        lines = file.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise _cannot(file, error.strerror or str(error)) from None
    return History.from_lines(lines)


def _cannot(file: Path, why: object) -> InvalidInput:
    return InvalidInput(N_("{file} cannot be replayed: {why}"), file=file, why=why)


def _chart_file(file: Path | None) -> Path | None:
    """Return where the chart goes. Raises UsageError, before anything is computed, if it cannot go there."""
    if file is None:
        return None
    if file.suffix.lower() not in CHARTS:
        raise UsageError(N_("--chart {file}: a name that ends in .png or .svg is expected"), file=file)
    if not file.absolute().parent.is_dir():
        raise UsageError(N_("--chart {file}: there is no folder {folder}"), file=file, folder=file.parent)
    return file


def _note(history: History) -> None:
    """Say what of the recording is not replayed."""
    if history.torn:
        output.complain(_("the last line is cut off and left out"))
    missing = sum(missing for _at, missing in history.gaps())
    strange = Counter(event.kind for event in history.events if event.kind not in KINDS)
    unended = sum(not row.outcome for row in history.ledger())
    if missing:
        text = ngettext("{n} event cannot be read", "{n} events are missing or cannot be read", missing)
        output.complain(text.format(n=missing))
    if count := strange.total():
        text = ngettext(
            "{n} event of an unknown kind is left out: {kinds}",
            "{n} events of unknown kinds are left out: {kinds}",
            count,
        )
        output.complain(text.format(n=count, kinds=", ".join(sorted(strange)[:5])))
    if unended:
        text = ngettext(
            "{n} task had no outcome when the recording ended; in the replay it ends",
            "{n} tasks had no outcome when the recording ended; in the replay they end",
            unended,
        )
        output.complain(text.format(n=unended))


def _policy_of_recording(usual: str, asked: str, settings: Settings) -> Any:
    """Return the policy of the recorded broker; least_busy, with a line that says so, if it is not here."""
    try:
        return load(usual, settings.work)
    except InvalidInput:
        if asked == usual:
            raise
        text = _("the recorded policy {policy} is not here; least_busy replays the recording in its place")
        output.complain(text.format(policy=usual))
        return "least_busy"


def _replayed(recorded: replay.Recorded, scenario: Any, policy: Any, seed: int) -> Run:
    return replay.replay(recorded, scenario, policy, seed)


# --- output -------------------------------------------------------------------------------------------------


def _show(figures: dict[str, Figures], apart: replay.Distance) -> None:
    from labkit.charts.table import Table

    columns = ("", _("makespan"), _("p95 of waiting"), _("requeued"), _("results"))
    rows: list[tuple[object, ...]] = [
        (name, *map(_in_words, (one.makespan_s, one.waiting_p95_s)), one.requeued, _shares(one))
        for name, one in figures.items()
    ]
    for line in str(Table(columns, rows)).splitlines():
        output.line(line)
    output.line()
    recorded = next(iter(figures.values()))
    if recorded.makespan_s is None:
        output.line(_("No task of the recording has an outcome, so nothing shows how close the replay is."))
        return
    part = round(100 * apart.makespan)
    if part > 0:
        text = _("The replay of the run as it was takes {part} % longer than the recording.")
    elif part < 0:
        text = _("The replay of the run as it was takes {part} % less than the recording.")
    else:
        text = _("The replay of the run as it was takes as long as the recording, to within 1 %.")
    output.line(text.format(part=abs(part)))
    text = _("Half of its tasks end within {half} of the recorded instant, 95 % within {most}.")
    output.line(text.format(half=seconds(apart.task_s), most=seconds(apart.task_p95_s)))


def _in_words(duration: float | None) -> str:
    return "–" if duration is None else seconds(duration)


def _shares(figures: Figures) -> str:
    total = sum(figures.share.values())
    shown = list(figures.share.items())[:MOST_SHARES]
    words = [f"{name} {100 * done / total:.0f} %" if total else name for name, done in shown]
    return ", ".join(words + ["…"] * (len(figures.share) > MOST_SHARES))


def _as_json(figures: dict[str, Figures], apart: replay.Distance, result: Run) -> dict[str, Any]:
    kinds = ("recorded", "replayed", "what_if")
    return {
        "figures": {
            kind: {**vars(one), "share": dict(one.share)}
            for kind, one in zip(kinds, figures.values(), strict=False)
        },
        "distance": vars(apart),
        "policy": result.policy,
        "ok": result.ok,
        "events": [json.loads(encode_event(event)) for event in replay.history_of(result).events],
    }


def _draw(file: Path, histories: dict[str, History]) -> None:
    """Draw the recording beside what was asked for."""
    import io

    from labkit import charts

    names = list(histories)
    picture = io.BytesIO()
    chart = charts.side_by_side(histories[names[0]], histories[names[-1]], (names[0], names[-1]))
    chart.savefig(picture, format=file.suffix[1:].lower(), metadata={"Description": chart.labkit_alt})
    atomic_write(file, picture.getvalue())


def _judge(runs: list[Run], policy: str) -> int:
    """Say what went wrong in a replay; return the exit code."""
    code = 0
    for one in runs:
        errors = [event for event in one.history if event.kind == POLICY_ERROR]
        if errors:
            text = ngettext(
                "the policy {policy} failed {n} time, least_busy chose in its place: {error}",
                "the policy {policy} failed {n} times, least_busy chose in its place: {error}",
                len(errors),
            )
            error = errors[0].detail.get("error", "?")
            output.complain(text.format(policy=policy, n=len(errors), error=error))
            code = 1
        if (at := replay.began_again_at(one)) is not None:
            text = _(
                "in the replay all workers were gone while tasks were open; they were started again at {at}"
            )
            output.complain(text.format(at=seconds(at)))
        if not one.ok:
            unended = one.tasks - len(one.outcomes)
            text = (
                _("in the replay {n} of {tasks} tasks never ended; does policy {policy} let them wait?")
                if one.violations[0].invariant == "liveness"
                else _("in the replay a promise was broken: {why}")
            )
            why = one.violations[0].why
            output.complain(text.format(n=unended, tasks=one.tasks, policy=policy, why=why))
            code = 1
    return code
