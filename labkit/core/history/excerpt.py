"""The part of a recording that is about chosen tasks, as a recording that is whole in itself.

A recording that begins in the middle of a run names workers that never joined in it. An excerpt therefore
begins with the workers that were there at that instant, each with its joining and its state.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from labkit.core.history import events as e
from labkit.core.history.events import Event
from labkit.core.history.live import READY, LiveView

_THERE = (READY, e.SUSPECT, e.DRAINING)


def excerpt(events: Iterable[Event], tasks: Container[str]) -> list[Event]:
    """Return what happened to ``tasks``, to the workers and to the broker, from the first submission on.

    ``events`` is a recording from its beginning. The workers that the broker knew at the first submission of
    one of ``tasks`` come first, at that instant. The result is empty if none of them was submitted.
    """
    before = LiveView()
    rest = iter(events)
    for event in rest:
        if event.kind == e.SUBMITTED and event.task in tasks:
            return [*_roll_call(before, event.at), event, *_about(rest, tasks, event.at)]
        before.add(event)
    return []


def _roll_call(view: LiveView, at: float) -> Iterable[Event]:
    for worker in view.workers.values():
        if worker.joined is not None and worker.state in _THERE:
            yield worker.joined._replace(at=at)
            if worker.state != READY:
                yield Event(at, worker.state, worker=worker.name)


def _about(events: Iterable[Event], tasks: Container[str], start: float) -> Iterable[Event]:
    for event in events:
        # An injector notes a fault itself, so a fault before the start may be recorded after it.
        late_note = event.kind == e.FAULT and event.at < start
        if not late_note and (not event.task or event.task in tasks):
            yield event
