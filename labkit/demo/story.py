"""What happens in the run, in sentences, each told once and as soon as the history knows it.

A ``Line`` is a sentence in the reader's language with its instant; the live view lists them, and without a
terminal they are all there is. Instants are seconds since the history's first event.
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
    """Tells a run to ``listener``. ``names`` are the pictures' names by task id."""

    def __init__(self, listener: Callable[[Line], None], names: Mapping[str, str], victim: str) -> None:
        self._listener = listener
        self._names = names
        self._victim = victim
        self._told: set[str] = set()

    # --- what the demo does ---------------------------------------------------------------------------------

    def submitted(self) -> None:
        """All tasks are with the client."""
        n = len(self._names)
        self._tell(None, ngettext("{n} task is submitted", "{n} tasks are submitted", n).format(n=n))

    def killing(self, progress: Progress, task: str) -> None:
        """The victim is about to be killed while it computes ``task``."""
        text = _("{done} of {total} are done. kill -9 {worker}, which is computing {picture}")
        self._tell(progress.now, self._said(text, progress, picture=self._names[task]), HARM)

    def restarting(self, progress: Progress) -> None:
        """The victim is about to be started again."""
        text = _("{done} of {total} are done, by the others alone. {worker} is started again")
        self._tell(progress.now, self._said(text, progress))

    def _said(self, text: str, progress: Progress, **more: str) -> str:
        return text.format(done=progress.done, total=len(progress.tasks), worker=self._victim, **more)

    # --- what the history says ------------------------------------------------------------------------------

    def follow(self, history: History) -> None:
        """Tell what the history has to say by now about the victim's loss and its return."""
        chain = recovery_of(history, self._victim)
        if chain is None or chain.detected_at is None:
            return
        if self._first("lost"):
            self._tell_loss(chain)
        if chain.first_result_elsewhere_at is not None and self._first("elsewhere"):
            self._tell_elsewhere(chain, history)
        back_at = rejoined_at(history, self._victim, chain.detected_at)
        if back_at is not None and self._first("back"):
            self._tell(back_at, _("{worker} is back, as a new worker").format(worker=self._victim), GOOD)

    def _tell(self, t: float | None, text: str, mood: str = PLAIN) -> None:
        self._listener(Line(t, text, mood))

    def _first(self, what: str) -> bool:
        first = what not in self._told
        self._told.add(what)
        return first

    def _tell_loss(self, chain: Recovery) -> None:
        assert chain.detected_at is not None and chain.detection_s is not None
        self._tell(
            chain.detected_at,
            _("the broker notices {seconds} after the kill ({cause})").format(
                seconds=seconds(chain.detection_s), cause=cause_in_words(chain.cause)
            ),
        )
        if chain.held:
            self._tell(
                chain.requeued_at,
                ngettext(
                    "{n} task that {worker} held is first in the queue again",
                    "{n} tasks that {worker} held are first in the queue again",
                    len(chain.held),
                ).format(n=len(chain.held), worker=self._victim),
            )

    def _tell_elsewhere(self, chain: Recovery, history: History) -> None:
        assert chain.recovery_s is not None
        rows = [row for row in history.ledger() if row.task in chain.held and row.outcome == "done"]
        first = min(rows, key=lambda row: row.ended or 0.0)
        self._tell(
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
