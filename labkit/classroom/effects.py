"""Side effects of a task whose worker dies in the middle: they happen as often as the task is begun.

The broker lets each task have one visible outcome. It cannot take back what a worker did to the world before
it died. Only the task itself can make a second attempt harmless, by being idempotent.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from labkit.classroom.work import Work
from labkit.jobs import book_of, entries_of, note, note_once

if TYPE_CHECKING:
    from labkit.cluster import Cluster

AFTER_S = 0.5
"""How long a task goes on after it has written its line: it is then that its worker is killed."""


class Effects(NamedTuple):
    """What one task leaves: results that its client received, and lines that its attempts wrote."""

    results: int
    lines: int


def effects_of_a_kill(cluster: Cluster, *, idempotent: bool) -> Effects:
    """Submit one task that writes a line, kill its worker after it, and return what there is at the end.

    The worker is started again.
    """
    book = secrets.token_hex(8)
    work = Work(cluster)
    try:
        work.submit(note_once if idempotent else note, book, "order-1", AFTER_S)
        worker = work.until_noted(book)
        cluster.kill(worker)
        work.until_seen("lost", worker)
        cluster.start(worker)
        done = work.finish().counts()["done"]
        return Effects(done, len(entries_of(book)))
    finally:
        book_of(book).unlink(missing_ok=True)
