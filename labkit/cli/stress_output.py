"""What ``stress`` shows: live figures, then tables, one sentence, what a fault cost, and the chart."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labkit.cli import output
from labkit.cluster.status_table import Column, table
from labkit.core.errors import N_
from labkit.core.protocol.exit_codes import DONE, FAILED
from labkit.load.arrivals import Load
from labkit.load.planner import INTERRUPTED, NOT_SENT, UNFINISHED, Planner
from labkit.load.ramp import Ramp
from labkit.load.report import Report
from labkit.support.i18n import _, ngettext, translate_error
from labkit.support.percentiles import percentile
from labkit.support.text import Spoken
from labkit.support.text import seconds as in_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labkit.core.history import Recovery
    from labkit.load.fault import Fault
    from labkit.load.generator import Offered

FRAMES_PER_S = 4
RECENT_S = 2.0
SHARES = ("p50", "p95", "p99")
ERRORS = {
    NOT_SENT: N_("not sent: too many were under way"),
    UNFINISHED: N_("without a result in time"),
    INTERRUPTED: N_("interrupted"),
}
"""In words; other errors have their own names."""


# --- live ---------------------------------------------------------------------------------------------------


class Live:
    """Figures of the running load, by a thread of its own; nothing without a terminal."""

    def __init__(self, shown: bool) -> None:
        self._planner: Planner | None = None
        self._began = 0.0
        self._over = threading.Event()
        self._shown = shown and sys.stdout.isatty()
        self._thread = threading.Thread(target=self._run, name="labkit-stress-live", daemon=True)

    def watch(self, planner: Planner, began: float) -> None:
        """Show this load from now on."""
        self._planner, self._began = planner, began

    def __enter__(self) -> Self:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End, and clear the live lines."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        from rich.console import Console
        from rich.live import Live as Frames

        with Frames(console=Console(highlight=False), auto_refresh=False, transient=True) as frames:
            while not self._over.wait(1 / FRAMES_PER_S):
                if self._planner is not None:
                    lines = live_lines(self._planner, time.monotonic() - self._began)
                    frames.update(_as_text(lines), refresh=True)


def live(shown: bool) -> Live:
    """Return the live figures of a command that shows them, or not."""
    return Live(shown)


def live_lines(planner: Planner, now: float) -> list[str]:
    """Return what the live display shows at the second ``now`` of a load."""
    progress = planner.progress()
    recent = [outcome for outcome in planner.outcomes[-2_000:] if outcome.ended > now - RECENT_S]
    waits = sorted(outcome.waiting_s for outcome in recent if not outcome.error)
    span = max(0.001, min(RECENT_S, now))
    p50, p95 = (in_words(percentile(waits, share)) if waits else "-" for share in (0.5, 0.95))
    return [
        _(
            "{now:.0f} s: {submitted} of {planned} tasks sent, {open} under way, {done} done, {errors} failed"
        ).format(now=now, **progress._asdict()),
        _("last {span:.0f} s: {rate} results/s, waiting p50 {p50}, p95 {p95}").format(
            span=RECENT_S, rate=_rate(len(waits) / span), p50=p50, p95=p95
        ),
    ]


def _as_text(lines: Sequence[str]) -> RenderableType:
    from rich.text import Text

    return Text("\n".join(lines))


# --- one load -----------------------------------------------------------------------------------------------


def show(
    load: Load, offered: Offered, fault: Fault, cost: Recovery | None, options: argparse.Namespace
) -> int:
    """Print what came of a load, and draw it; return the exit code. Raises KeyboardInterrupt after Ctrl-C."""
    figures = offered.report
    if options.json:
        output.as_json(_as_json(load, offered, fault, cost))
    elif figures is None:
        output.line(_("Interrupted before the first task."))
    else:
        _print_tables(figures)
        output.line(sentence(figures, offered.interrupted))
        if options.kill_after is not None:
            output.line(fault_in_words(fault, cost))
    if options.chart is not None and figures is not None:
        _draw(options, offered, fault, cost)
    if offered.interrupted:
        raise KeyboardInterrupt
    return FAILED if figures is not None and figures.errors else DONE


def sentence(figures: Report, interrupted: bool = False) -> str:
    """Return what the figures mean, in one sentence."""
    late = inconclusive(figures)
    if late:
        return late
    begin = _("Interrupted; until then: ") if interrupted else ""
    failed = sum(figures.errors.values())
    if not figures.waiting_s:
        return begin + _("No task has a result.")
    p95 = in_words(figures.waiting_s[1])
    rates = {"achieved": _rate(figures.achieved), "offered": _rate(figures.offered), "p95": p95}
    if figures.kept_up and not failed:
        text = _("The cluster kept up with {offered} tasks/s: 95 % of them waited at most {p95}.")
    elif figures.kept_up:
        text = _("The cluster kept up with {offered} tasks/s, but {failed} of {tasks} tasks have no result.")
    elif failed and not interrupted:
        text = _(
            "The cluster did not keep up: it did {achieved} of {offered} tasks/s, and {failed} of {tasks} "
            "tasks have no result."
        )
    else:
        text = _(
            "The cluster did not keep up: it did {achieved} of {offered} tasks/s, so its queue grew, and "
            "95 % of the tasks waited up to {p95}."
        )
    text = text.format(**rates, failed=failed, tasks=figures.tasks)
    return begin + (text[0].lower() + text[1:] if begin else text)


def inconclusive(figures: Report) -> str:
    """Return why the figures say nothing about the cluster; empty if they do."""
    if figures.on_time:
        return ""
    return _(
        "Inconclusive: this machine sent {submitted} of {offered} tasks/s, up to {late} late, so the figures "
        "are about this machine and not about the cluster; try a lower rate."
    ).format(
        submitted=_rate(figures.submitted),
        offered=_rate(figures.offered),
        late=in_words(figures.late_s),
    )


def fault_in_words(fault: Fault, cost: Recovery | None) -> str:
    """Return what the kill cost, in one line."""
    if not fault.victim:
        if fault.error is not None:
            return _("No worker was killed: {why}").format(why=translate_error(fault.error))
        return _("No worker was killed: none was computing.")
    parts = [_("{worker} was killed with {tasks}").format(worker=fault.victim, tasks=_held(cost))]
    if cost is not None:
        for template, duration in (
            (_("noticed after {time}"), cost.detection_s),
            (_("its first task done elsewhere after {time}"), _since(cost, cost.first_result_elsewhere_at)),
            (_("throughput back after {time}"), _since(cost, cost.restored_at)),
        ):
            if duration is not None:
                parts.append(template.format(time=in_words(duration)))
        parts.append(_lost(len(cost.lost)))
    if fault.error is not None:
        parts.append(_("it could not be started again: {why}").format(why=translate_error(fault.error)))
    return "; ".join(parts) + "."


def _held(cost: Recovery | None) -> str:
    n = 0 if cost is None else len(cost.held)
    return ngettext("{n} task", "{n} tasks", n).format(n=n)


def _lost(n: int) -> str:
    return ngettext("{n} task lost", "{n} tasks lost", n).format(n=n) if n else _("no task lost")


def _since(cost: Recovery, at: float | None) -> float | None:
    return None if at is None else at - cost.began_at


def _print_tables(figures: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(_rates_table(figures), _times_table(figures), sep="\n")
    if figures.by_worker:
        console.print(_workers_table(figures))
    for error, count in figures.errors.items():
        output.line(f"{count}  " + (_(ERRORS[error]) if error in ERRORS else error))
    console.print()


def _rates_table(figures: Report) -> RenderableType:
    titles = (_("tasks"), _("results"), _("errors"), _("offered tasks/s"), _("sent tasks/s"), _("results/s"))
    failed = sum(figures.errors.values())
    cells = [
        str(figures.tasks),
        str(figures.tasks - failed),
        str(failed),
        _rate(figures.offered),
        _rate(figures.submitted),
        _rate(figures.achieved),
    ]
    return table([Column(title, "number") for title in titles], [cells])


def _times_table(figures: Report) -> RenderableType:
    rows = [
        [title, *(in_words(value) for value in values)]
        for title, values in ((_("waiting"), figures.waiting_s), (_("service"), figures.service_s))
        if values
    ]
    return table([Column(""), *(Column(share, "number") for share in SHARES)], rows)


def _workers_table(figures: Report) -> RenderableType:
    done = sum(figures.by_worker.values())
    rows = [[name, str(n), f"{100 * n / done:.0f} %"] for name, n in figures.by_worker.items()]
    return table([Column(_("worker")), Column(_("results"), "number"), Column(_("share"), "number")], rows)


def _rate(rate: float) -> str:
    return f"{Spoken(rate):.1f}" if rate < 100 else f"{rate:.0f}"


def _as_json(load: Load, offered: Offered, fault: Fault, cost: Recovery | None) -> dict[str, Any]:
    return {
        "pattern": load.pattern,
        "seed": load.seed,
        "seconds": offered.seconds,
        "interrupted": offered.interrupted,
        "conclusive": offered.report is not None and offered.report.on_time,
        "report": None if offered.report is None else offered.report.as_json(),
        "fault": None if not fault.victim else {"worker": fault.victim, **_cost_as_json(cost)},
    }


def _cost_as_json(cost: Recovery | None) -> dict[str, Any]:
    if cost is None:
        return {}
    return {
        "detection_s": cost.detection_s,
        "first_result_elsewhere_s": _since(cost, cost.first_result_elsewhere_at),
        "restored_s": _since(cost, cost.restored_at),
        "held": len(cost.held),
        "lost": len(cost.lost),
    }


def _draw(options: argparse.Namespace, offered: Offered, fault: Fault, cost: Recovery | None) -> None:
    from labkit import charts

    points = [charts.LoadPoint(o.planned, o.ended, o.waiting_s, o.worker, o.error) for o in offered.outcomes]
    kill = (fault.at_s, fault.victim) if fault.victim else None
    _save(charts.load(points, kill), options)


def _save(chart: Any, options: argparse.Namespace) -> None:
    chart.save(options.chart)
    if not options.json:
        output.line(_("The chart is in {file}.").format(file=options.chart))


# --- a ramp -------------------------------------------------------------------------------------------------


def show_ramp(search: Ramp, interrupted: bool, options: argparse.Namespace) -> int:
    """Print the rates that were tried and the knee, and draw them; return the exit code."""
    if options.json:
        output.as_json(
            {
                "pattern": "ramp",
                "bound_s": search.bound_s,
                "knee": search.knee,
                "beyond": search.beyond,
                "conclusive": not search.late,
                "interrupted": interrupted,
                "steps": [
                    {"rate": step.rate, "followed": step.followed, "report": step.report.as_json()}
                    for step in search.steps
                ],
            }
        )
    else:
        _print_steps(search)
        output.line(ramp_sentence(search, interrupted))
    if options.chart is not None and search.steps:
        from labkit import charts

        steps = [
            charts.LoadStep(s.rate, s.report.achieved, *_p50_and_p95(s.report), s.followed)
            for s in search.steps
        ]
        knee = None if search.late or search.beyond is None else search.knee
        _save(charts.ramp(steps, search.bound_s, knee), options)
    if interrupted:
        raise KeyboardInterrupt
    return DONE


def ramp_sentence(search: Ramp, interrupted: bool = False) -> str:
    """Return what a ramp found, in one sentence."""
    bound = in_words(search.bound_s)
    knee, beyond = search.knee, search.beyond
    if search.late:
        text = _("Inconclusive: this machine could not send the tasks on time.")
        if knee is not None:
            text += " " + _("The cluster kept up with {rate} tasks/s.").format(rate=_rate(knee))
        return text
    if not search.steps:
        return _("Interrupted before the first rate was tried.")
    begin = _("Interrupted; until then: ") if interrupted else ""
    if knee is None:
        return begin + _("At no rate did 95 % of the tasks wait at most {bound}.").format(bound=bound)
    if beyond is None:
        text = _("The cluster kept up with every rate that was tried, the highest {knee} tasks/s.")
    elif not search.is_bound_by_waiting:
        text = _(
            "The knee is at {knee} tasks/s: up to there 95 % of the tasks wait at most {bound}, at {beyond} "
            "tasks/s the cluster does not keep up."
        )
    else:
        text = _(
            "The knee is at {knee} tasks/s: up to there 95 % of the tasks wait at most {bound}, at {beyond} "
            "tasks/s no longer."
        )
    return begin + text.format(knee=_rate(knee), beyond=_rate(beyond or 0.0), bound=bound)


def _p50_and_p95(figures: Report) -> tuple[float | None, float | None]:
    return (figures.waiting_s[0], figures.waiting_s[1]) if figures.waiting_s else (None, None)


def _print_steps(search: Ramp) -> None:
    from rich.console import Console

    titles = (_("offered tasks/s"), _("results/s"), _("waiting p50"), _("p95"), _("errors"))
    rows = []
    for step in sorted(search.steps, key=lambda step: step.rate):
        waits = [in_words(value) for value in step.report.waiting_s[:2]] or ["-", "-"]
        errors = sum(step.report.errors.values())
        rows.append(
            [
                _rate(step.rate),
                _rate(step.report.achieved),
                *waits,
                str(errors),
                _("yes") if step.followed else _("no"),
            ]
        )
    columns = [*(Column(title, "number") for title in titles), Column(_("kept up"))]
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(columns, rows))
    console.print()
