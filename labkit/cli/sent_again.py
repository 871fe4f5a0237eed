"""Why pictures of a batch were sent to a worker more than once, from the cluster's history."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.core.history.causes import REASONS, UNKNOWN, SentAgain
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


def again_in_words(again: Mapping[str, list[str]]) -> str:
    """Return how many tasks were sent to a worker more than once, and why."""
    text = ngettext(
        "{n} of them was sent to a worker again: {why}.",
        "{n} of them were sent to a worker again: {why}.",
        len(again),
    )
    counts = Counter(cause for causes in again.values() for cause in causes)
    if len(counts) == 1:
        why = _(REASONS[next(iter(counts))])
    else:
        why = "; ".join(f"{n} × {_(REASONS[cause])}" for cause, n in counts.most_common())
    return text.format(n=len(again), why=why)
