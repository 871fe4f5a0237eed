"""Why pictures of a batch were sent to a worker more than once, from the cluster's history."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.core.history.causes import REASONS, REASONS_OF_MANY, UNKNOWN, SentAgain
from labkit.support.i18n import _, ngettext

if TYPE_CHECKING:
    from labkit.cli.batch import Report
    from labkit.cluster.history_file import EventFile

HISTORY_S = 1.0
"""How long to wait for the history to show the batch's last results."""
LOOK_EVERY_S = 0.01


def sent_again(events: EventFile, report: Report) -> dict[str, list[str]]:
    """Return, by task, why it was sent to a worker more than once: keys of ``causes.REASONS``.

    ``events`` begin before the batch. The broker writes them some moments later: a result may be here first.
    """
    tasks = {done.task for done in report.written if done.task}
    reader = SentAgain(tasks)
    deadline = time.monotonic() + HISTORY_S
    while True:
        for event in events.stream():
            reader.add(event)
        if tasks <= reader.ended or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_EVERY_S)
    for done in report.written:
        if done.attempt > 1 and done.task not in reader.ended:
            reader.causes.setdefault(done.task, [UNKNOWN])
    return reader.causes


def again_in_words(again: Mapping[str, list[str]], of: int = 2) -> str:
    """Return how many tasks were sent to a worker more than once, and why; ``of`` is how many there are."""
    if of == 1:
        text = _("It was sent to a worker again: {why}.")
    else:
        text = ngettext(
            "{n} of them was sent to a worker again: {why}.",
            "{n} of them were sent to a worker again: {why}.",
            len(again),
        )
    counts = Counter(cause for causes in again.values() for cause in causes)
    if len(counts) == 1 and counts.total() == len(again):
        why = _((REASONS if len(again) == 1 else REASONS_OF_MANY)[next(iter(counts))])
    else:  # each cause is counted, and told of one attempt
        why = "; ".join(f"{n} × {_(REASONS[cause])}" for cause, n in counts.most_common())
    return text.format(n=len(again), why=why)
