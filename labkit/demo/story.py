"""The run in sentences, each reported once, as soon as the history shows it.

A ``Line`` is a sentence in the reader's language with its instant. The live display lists the sentences;
without a terminal they are the only output. Instants are seconds since the history's first event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from labkit.cluster.status_text import cause_in_words
from labkit.core.history import History, Recovery
from labkit.demo.progress import Progress
from labkit.support.i18n import _, ngettext
from labkit.support.text import seconds

HARM, GOOD, PLAIN = "harm", "good", "plain"


class Line(NamedTuple):
    """One sentence; ``mood`` is harm, good or plain, ``t`` its instant, None where it has none."""

    t: float | None
    text: str
    mood: str = PLAIN


class Story:
    """Reports a run to ``listener``. ``names`` are the pictures' names by task id."""

    def __init__(self, listener: Callable[[Line], None], names: Mapping[str, str], victim: str) -> None:
        self._listener = listener
        self._names = names
        self._victim = victim
        self._reported: set[str] = set()

    # --- the demo's actions ---------------------------------------------------------------------------------

    def submitted(self) -> None:
        """Report that all tasks are submitted."""
        n = len(self._names)
        self._report(None, ngettext("{n} task is submitted", "{n} tasks are submitted", n).format(n=n))

    def killing(self, progress: Progress, task: str) -> None:
        """Report that the victim is about to be killed while it computes ``task``."""
        text = _("{done} of {total} are done. kill -9 {worker}, which is computing {picture}")
        self._report(progress.now, self._text(text, progress, picture=self._names[task]), HARM)

    def restarting(self, progress: Progress) -> None:
        """Report that the victim is about to be started again."""
        text = _("{done} of {total} are done, by the others alone. {worker} is started again")
        self._report(progress.now, self._text(text, progress))

    def _text(self, text: str, progress: Progress, **more: str) -> str:
        return text.format(done=progress.done, total=len(progress.tasks), worker=self._victim, **more)

    # --- from the history -----------------------------------------------------------------------------------

    def follow(self, history: History) -> None:
        """Report what the history shows by now of the victim's loss and its return."""
        chain = recovery_of(history, self._victim)
        if chain is None or chain.detected_at is None:
            return
        if self._first("lost"):
            self._report_loss(chain)
        if chain.first_result_elsewhere_at is not None and self._first("elsewhere"):
            self._report_elsewhere(chain, history)
        back_at = rejoined_at(history, self._victim, chain.detected_at)
        if back_at is not None and self._first("back"):
            self._report(back_at, _("{worker} is back, as a new worker").format(worker=self._victim), GOOD)

    def _report(self, t: float | None, text: str, mood: str = PLAIN) -> None:
        self._listener(Line(t, text, mood))

    def _first(self, what: str) -> bool:
        first = what not in self._reported
        self._reported.add(what)
        return first

    def _report_loss(self, chain: Recovery) -> None:
        assert chain.detected_at is not None and chain.detection_s is not None
        self._report(
            chain.detected_at,
            _("the broker notices {seconds} after the kill ({cause})").format(
                seconds=seconds(chain.detection_s), cause=cause_in_words(chain.cause)
            ),
        )
        if chain.held:
            self._report(
                chain.requeued_at,
                ngettext(
                    "{n} task that {worker} held is first in the queue again",
                    "{n} tasks that {worker} held are first in the queue again",
                    len(chain.held),
                ).format(n=len(chain.held), worker=self._victim),
            )

    def _report_elsewhere(self, chain: Recovery, history: History) -> None:
        assert chain.recovery_s is not None
        rows = [row for row in history.ledger() if row.task in chain.held and row.outcome == "done"]
        first = min(rows, key=lambda row: row.ended or 0.0)
        self._report(
            chain.first_result_elsewhere_at,
            _("{winner} delivers {picture} in its place, {seconds} after the kill").format(
                winner=first.winner,
                picture=self._names.get(first.task, first.task),
                seconds=seconds(chain.recovery_s),
            ),
            GOOD,
        )


def recovery_of(history: History, victim: str) -> Recovery | None:
    """Return the recovery from the victim's kill, or None if it was not killed yet."""
    return next(
        (chain for chain in history.recoveries() if (chain.fault, chain.target) == ("kill", victim)), None
    )


def rejoined_at(history: History, victim: str, lost_at: float) -> float | None:
    """Return when the victim was ready again after its loss, or None."""
    spans = history.workers().get(victim, [])
    return next((span.start for span in spans if span.state == "ready" and span.start >= lost_at), None)
