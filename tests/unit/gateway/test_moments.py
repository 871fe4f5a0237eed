"""A moment for the dashboard's page: everything once, then only what is new, in the reader's language."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from labkit.cluster.status import ClusterStatus
from labkit.core.history import Event
from labkit.gateway.last_fault import LastFault
from labkit.gateway.moments import SPAN_S, Present, Sample, Seen, moment
from labkit.gateway.timeline import Timeline
from labkit.panel.feed import Feed
from labkit.support.i18n import in_language
from tests.tools.made_histories import CLOCK, demo, note, run
from tests.tools.panel_moments import status, worker

NOTHING = Seen()


def present(events: Sequence[Event]) -> Present:
    made = Present(Feed(SPAN_S), Timeline(SPAN_S), LastFault(), deque(), 0)
    take(made, events)
    return made


def take(made: Present, events: Sequence[Event]) -> None:
    for event in events:
        began = made.feed.live.began_at
        t = event.at - (event.at if began is None else began)
        made.last_fault.add(event, t, made.feed.live)
        made.timeline.add(event, t)
        made.feed.add(event, event.at, 1.7e9 + t)
    made.feed.set_clock(events[-1].at)
    made.samples.append(Sample(events[-1].at - CLOCK, 1, 2, 0.1, None, 0.2, 0.3))


def body(
    made: Present, before: Seen = NOTHING, monotonic: float | None = None, **changes: Any
) -> tuple[dict[str, Any], Seen]:
    rows = [worker(f"worker-{n}") for n in (1, 2, 3)]
    told = cast(ClusterStatus, {**status(*rows), **changes})
    at = made.feed.live.latest_at if monotonic is None else monotonic
    shown = moment(told, made, before, at, 1.7e9, {})
    return json.loads(json.dumps(shown.body)), shown.seen


def test_the_first_moment_has_everything_and_the_next_only_what_is_new() -> None:
    events = demo()
    made = present(events[:-200])
    first, seen = body(made)
    assert first["full"] and first["spans"] and first["seconds"] and first["log"] and first["samples"]
    again, seen = body(made, seen)
    assert not again["full"]
    assert [again[name] for name in ("spans", "arrows", "seconds", "log", "samples")] == [[], [], [], [], []]
    take(made, events[-200:])
    later, _seen = body(made, seen)
    everything, _seen = body(made)
    for name in ("spans", "arrows", "seconds", "log"):
        assert first[name] + later[name] == everything[name], name


def test_a_moment_holds_cards_chain_and_targets() -> None:
    shown, _seen = body(present(run(tasks=600, kill_at=4.0, back_after=3.0)))
    assert [card["name"] for card in shown["cards"]][:3] == ["worker-1", "worker-2", "worker-3"]
    assert dict(shown["cards"][0]["facts"])["share"].endswith("%")
    assert shown["chain"]["title"].startswith("kill worker-2")
    assert {row[0]: row[3] for row in shown["targets"]}["nothing_lost"] is True
    assert shown["arrows"] and all(arrow[1] == "worker-2" for arrow in shown["arrows"])
    assert [away[0] for away in shown["away"]] == ["worker-2"]
    assert any(mark[2] for mark in shown["marks"]), "the kill is marked"


def test_a_worker_that_has_left_keeps_its_row_while_its_work_is_in_sight() -> None:
    made = present(demo())
    rows = [worker(f"worker-{n}") for n in (1, 2)]
    smaller = {name: status(*rows)[name] for name in ("workers", "processes")}
    shown, _seen = body(made, **smaller)
    assert [name for name, _colour in shown["left"]] == ["worker-3"]
    assert [card["name"] for card in shown["cards"]][:2] == ["worker-1", "worker-2"]
    unchanged, _seen = body(made)
    assert unchanged["left"] == []
    much_later, _seen = body(made, monotonic=made.feed.live.latest_at + 2 * SPAN_S, **smaller)
    assert much_later["left"] == []


def test_each_reader_has_the_log_in_its_own_language() -> None:
    made = present(demo())
    english, _seen = body(made)
    with in_language("es"):
        spanish, _seen = body(made)
    assert any("joins" in line[2] for line in english["log"])
    assert any("se une" in line[2] for line in spanish["log"])
    assert [line[0] for line in english["log"]] == [line[0] for line in spanish["log"]]
    assert english["spans"] == spanish["spans"]


def test_a_moment_without_a_broker_says_so_and_goes_on() -> None:
    shown, _seen = body(present(demo()), broker=None)
    assert not shown["broker"] and shown["figures"]["queue"] is None


def test_a_cluster_without_any_event_has_a_moment() -> None:
    shown, seen = body(Present(Feed(), Timeline(), LastFault(), deque(), 0), monotonic=5.0)
    assert shown["now"] == 0 and shown["log"] == [] and shown["chain"] is None
    assert seen == Seen(0, 0, -1, -1.0)


def test_the_page_offers_no_command_for_its_own_process() -> None:
    """Killed from its own page, the HTTP side could not be started there again."""
    rows = [{"name": name, "kind": name, "state": "running"} for name in ("broker", "api")]
    shown, _seen = body(present(demo()), processes=rows)
    offered = {card["name"]: card["commands"] for card in shown["cards"]}
    assert offered["api"] == [] and "kill" in offered["broker"]


def test_an_idle_broker_that_answers_again_after_a_freeze_has_no_recovery_under_way() -> None:
    made = present([note(0, "broker_started"), note(1, "fault", fault="pause", target="broker")])
    frozen, _seen = body(made, monotonic=CLOCK + 40, broker=None)
    assert frozen["chain"]["title"] == "pause broker"
    assert {row[0]: row[3] for row in frozen["targets"]}["recovery"] is False
    shown, _seen = body(made, monotonic=CLOCK + 41)
    assert shown["chain"] is None


def test_shares_before_a_fault_are_the_same_minutes_later() -> None:
    made = present(run(tasks=600, kill_at=4.0, back_after=3.0))

    def shares(after: float) -> list[Any]:
        shown, _seen = body(made, monotonic=made.feed.live.latest_at + after)
        return next(row for row in shown["targets"] if row[0] == "equal_shares")

    assert shares(0)[3] is True and "before the fault" in shares(0)[2]
    assert shares(0) == shares(90) == shares(600)
