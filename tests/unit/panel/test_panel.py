"""The panel without a browser: a status and events become words, HTML and widgets."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, cast

import pytest

from labkit.cluster.status import ClusterStatus
from labkit.cluster.status_text import COMMANDS, STATES, TONES
from labkit.core.errors import BrokerUnreachable, ClusterError, ClusterNotRunning
from labkit.core.history import Event
from labkit.panel import Panel, page, view
from labkit.panel.board import Board
from labkit.panel.chart import chart_svg, describe
from labkit.panel.feed import CHART_S, LOG_LINES, Feed
from labkit.panel.panel import FRONTEND
from labkit.panel.view import moment_of
from labkit.support import i18n
from labkit.support.palette import worker_colour
from tests.tools.made_histories import demo, frozen, note
from tests.tools.waiting import wait_until

# --- a cluster's status, made by hand -----------------------------------------------------------------------


Status = dict[str, Any]


def worker(name: str = "worker-1", process: str = "running", status: str = "ready", **more: Any) -> Status:
    return {
        "name": name, "process": process, "status": status, "pid": 41, "restarts": 0, "last_exit": "",
        "restart_in_s": None, "capabilities": [], "tasks_completed": 7, "in_flight": 0, "slots": 1,
        "last_heartbeat_age_s": 0.25, **more,
    }  # fmt: skip


def status(*workers: dict[str, Any], broker: str = "running", answers: bool = True) -> dict[str, Any]:
    rows = [
        {"name": "broker", "kind": "broker", "state": broker},
        {"name": "redis", "kind": "redis", "state": "running"},
    ]
    rows += [{"name": w["name"], "kind": "worker", "state": w["process"]} for w in workers]
    picture = {"queued": 4, "assigned": 3, "clients": 2, "mirror": "ok"}
    return {
        "cluster": "made", "workers": list(workers), "processes": rows, "unrecorded_faults": [],
        "broker": picture if answers else None, "broker_error": None if answers else "silence",
    }  # fmt: skip


def feed_of(events: list[Event]) -> tuple[Feed, float]:
    """Return a feed that has read the events, on the broker's own clock, and the instant of the last one."""
    feed = Feed()
    now = events[-1].at
    feed.read(events, monotonic=now, wall=0.0)
    return feed, now


def moment(*workers: dict[str, Any], events: list[Event] | None = None, **more: Any) -> view.Moment:
    feed, now = feed_of(events) if events else (Feed(), 0.0)
    pending = more.pop("pending", None)
    return moment_of(cast(ClusterStatus, status(*(workers or (worker(),)), **more)), feed, now, pending)


# --- the feed -----------------------------------------------------------------------------------------------


def test_feed_counts_every_result_and_keeps_only_the_shown_time() -> None:
    feed, now = feed_of(demo())
    assert feed.total == 180
    long_after = now + 100
    feed.read([], long_after, 0.0)
    assert sum(sum(second.by_worker.values()) for second in feed.seconds(long_after)) == 0
    assert feed.total == 180 and not feed.live.results


def test_seconds_hold_the_results_without_the_present_second() -> None:
    feed, now = feed_of(demo())
    end = int(feed.now(now))
    seconds = feed.seconds(now)
    assert [second.t for second in seconds] == list(range(end))
    assert 0 < sum(sum(second.by_worker.values()) for second in seconds) <= 180
    assert len(feed.seconds(now + 1000)) == CHART_S


def test_log_lists_kill_loss_and_requeue_in_this_order() -> None:
    feed, _now = feed_of(demo())
    texts = [line.text for line in feed.log]
    kill = texts.index("command: kill worker-2")
    lost = texts.index("worker-2 is lost: its connection closed")
    requeued = next(i for i, text in enumerate(texts) if text.endswith("worker-2 no longer has it"))
    back = texts.index("command: start worker-2")
    assert kill < lost < requeued < back


def test_log_names_each_cause_of_a_requeue_and_of_a_goodbye() -> None:
    feed, _now = feed_of(
        [
            *(note(0.1, "joined", f"worker-{n}") for n in (1, 2, 3, 4)),
            *(note(0.2, "dispatched", f"worker-{n}", "ab" * 16, 1) for n in (1, 2, 3)),
            note(1, "draining", "worker-1"),
            note(1, "requeued", "worker-1", "ab" * 16, 1, cause="returned"),
            note(1, "left", "worker-1"),
            note(2, "requeued", "worker-2", "cd" * 16, 1, cause="hung"),
            note(2, "left", "worker-2"),
            note(3, "draining", "worker-4"),
            note(3, "dispatched", "worker-4", "ef" * 16, 1),
            note(13, "left", "worker-4"),
            note(13, "requeued", "worker-4", "ef" * 16, 1, cause="left"),
        ]
    )
    texts = [line.text for line in feed.log]
    again = "is first in the queue again"
    assert (
        f"task ababab of worker-1 {again}: its worker was asked to stop and gave it back before it began"
        in texts
    )
    assert "worker-1 has left politely, empty-handed" in texts
    assert f"task cdcdcd of worker-2 {again}: it outran its lease" in texts
    assert "worker-2 ends, because a task outran its lease there" in texts
    assert "worker-4 has left before it was done: 1 task goes back to the queue" in texts


def test_log_and_marks_stay_bounded() -> None:
    feed = Feed()
    for i in range(1000):
        feed.read([Event(float(i), "fault", detail={"fault": "kill", "target": "worker-1"})], float(i), 0.0)
    assert len(feed.log) == LOG_LINES and len(feed.marks(999.0)) <= CHART_S + 1


def test_every_kind_of_event_is_taken_in_with_and_without_its_details() -> None:
    from labkit.core.history import KINDS

    feed = Feed()
    for kind in sorted(KINDS):
        full = Event(1.0, kind, "ab" * 16, 1, "worker-1", {"cause": "closed"})
        feed.read([Event(1.0, kind), full], 1.0, 0.0)
    feed.read([Event(1.0, "of a newer labkit")], 1.0, 0.0)
    assert feed.log and all(line.text for line in feed.log)


def test_now_is_estimated_from_the_wall_clock_at_the_brokers_start() -> None:
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": 1000.0})], monotonic=77.0, wall=1010.0)
    assert feed.now(77.0) == pytest.approx(10.0)
    assert feed.now(80.0) == pytest.approx(13.0)


def test_brokers_own_way_to_state_the_time_is_understood_so_an_old_rate_is_not_shown() -> None:
    started = {"wall": "2026-01-31T12:00:00Z"}
    wall = datetime(2026, 1, 31, 12, 10, 0, tzinfo=UTC).timestamp()
    feed = Feed()
    done = [Event(500.0 + n / 10, "done", "ab" * 16, 1, "worker-1") for n in range(100)]
    feed.read([Event(500.0, "broker_started", detail=started), *done], monotonic=77.0, wall=wall)
    assert feed.now(77.0) == pytest.approx(600.0, abs=1.0)
    told = cast(ClusterStatus, status(worker()))
    assert "· 0.0 results/s" in moment_of(told, feed, 77.0).headline
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": "no time"})], monotonic=77.0, wall=wall)
    assert feed.now(77.0) == 0.0


def test_event_younger_than_the_estimate_corrects_the_clock() -> None:
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": 1000.0})], monotonic=77.0, wall=1001.0)
    feed.read([Event(505.0, "joined", worker="worker-1")], monotonic=78.0, wall=1002.0)
    assert feed.now(78.0) == pytest.approx(5.0)


def test_feed_without_events_has_no_past() -> None:
    feed = Feed()
    assert (feed.now(1234.5), feed.seconds(1234.5), feed.marks(1234.5)) == (0.0, [], [])


# --- the view -----------------------------------------------------------------------------------------------


def test_card_shows_the_process_state_beside_the_brokers() -> None:
    (card, *_) = moment(worker(process="killed", status="lost")).cards
    assert card.state == "killed, lost" and card.sign == "✕" and card.tone == "harm"
    assert ("process", "killed") in card.facts and ("broker says", "lost") in card.facts
    assert ("in flight", "–") in card.facts


def test_worker_has_the_same_colour_as_in_the_charts() -> None:
    cards = moment(*(worker(f"worker-{n}") for n in (1, 2, 3))).cards
    assert [c.colour for c in cards[:3]] == [worker_colour(f"worker-{n}") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("process", "fitting"),
    [
        ("running", {"kill", "pause", "stop"}),
        ("paused", {"kill", "resume", "stop"}),
        ("stopping", {"kill"}),
        ("restarting", {"stop"}),
        ("stopped", {"start"}),
        ("killed", {"start"}),
    ],
)
def test_buttons_of_the_states_commands_can_be_pressed(process: str, fitting: set[str]) -> None:
    (card, *_) = moment(worker(process=process)).cards
    assert card.commands == fitting and fitting <= set(COMMANDS)


def test_during_a_command_only_a_kill_may_cut_a_stop_short() -> None:
    (stopping, *_) = moment(worker(process="stopping"), pending={"worker-1": "stop"}).cards
    assert stopping.commands == {"kill"} and stopping.pending == "stop …"
    (starting, *_) = moment(worker(process="killed"), pending={"worker-1": "start"}).cards
    assert starting.commands == frozenset()


def test_rates_cover_the_last_whole_seconds() -> None:
    shown = moment(*(worker(f"worker-{n}") for n in (1, 2, 3)), events=demo())
    recent = shown.seconds[-view.RATE_OVER_S :]
    for card in shown.cards[:3]:
        expected = sum(s.by_worker.get(card.name, 0) for s in recent) / len(recent)
        assert dict(card.facts)["per second"] == f"{expected:.1f}"
        assert int(dict(card.facts)["completed"]) > 0
    assert "180 done" in shown.headline and "3 of 3 workers ready" in shown.headline


def test_worker_from_elsewhere_is_shown_without_active_buttons() -> None:
    told = {**status(worker()), "guests": [worker("by-hand", process="elsewhere", status="busy")]}
    shown = moment_of(cast(ClusterStatus, told), Feed(), 0.0)
    card = shown.cards[1]
    assert (card.name, card.state, card.commands) == ("by-hand", "busy", frozenset())
    assert ("process", "elsewhere") in card.facts and shown.workers == 1


@pytest.mark.parametrize(
    ("broker", "word"), [("killed", "killed"), ("paused", "frozen"), ("running", "answer")]
)
def test_broker_without_an_answer_is_shown_as_a_problem(broker: str, word: str) -> None:
    shown = moment(worker(status="absent"), broker=broker, answers=False)
    assert word in shown.problem
    assert moment().problem == ""


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("broker", ["killed", "paused", "stopped", "running"])
@pytest.mark.parametrize("process", ["running", "killed", "stopped", "paused", "restarting", "stopping"])
def test_without_a_broker_no_worker_is_shown_as_joining(language: str, broker: str, process: str) -> None:
    i18n.set_language(language)
    joining = STATES["absent"].word
    (card, *_) = moment(worker(process=process, status="absent"), broker=broker, answers=False).cards
    facts = dict(card.facts)
    assert joining not in (card.state, *facts.values())
    assert facts[i18n._("broker says")] == i18n._("nothing") and facts[i18n._("per second")] == "–"
    if process != "running":
        assert card.state == STATES[process].word


@pytest.mark.parametrize("process", ["killed", "stopped", "paused", "restarting"])
def test_a_dead_worker_that_a_new_broker_never_met_is_not_joining(process: str) -> None:
    (card, *_) = moment(worker(process=process, status="absent")).cards
    assert card.state == STATES[process].word and dict(card.facts)["broker says"] == "not there"
    (card, *_) = moment(worker(process="running", status="absent")).cards
    assert card.state == "joining" and dict(card.facts)["broker says"] == "joining"


@pytest.mark.parametrize(
    ("gone", "answers"),
    [
        ({"process": "killed", "status": "lost"}, True),
        ({"process": "killed", "status": "absent"}, True),
        ({"process": "stopped", "status": "left"}, True),
        ({"process": "restarting", "status": "lost"}, True),
        ({"process": "paused", "status": "lost"}, True),
        ({"process": "running", "status": "absent"}, False),
    ],
)
def test_no_rate_is_shown_for_workers_that_deliver_nothing(gone: dict[str, str], answers: bool) -> None:
    names = [f"worker-{n}" for n in (1, 2, 3)]
    events = [event for event in demo() if event.at < demo()[-1].at - 1.0]
    assert "· 0.0 results/s" not in moment(*map(worker, names), events=events).headline
    shown = moment(*(worker(name, **gone) for name in names), events=events, answers=answers)
    assert "0.0 results/s" in shown.headline
    assert {dict(card.facts)["per second"] for card in shown.cards[:3]} == {"–"}


def test_faults_that_no_broker_could_record_are_marked() -> None:
    told = status(worker())
    told["unrecorded_faults"] = [
        {"fault": "kill", "target": "worker-2", "wall": 995.0},
        {"fault": "start", "target": "broker", "wall": 100.0},  # too long ago
        {"fault": "kill", "target": "worker-3"},
    ]
    feed, now = feed_of(demo())
    marks = moment_of(cast(ClusterStatus, told), feed, now + 60, wall=1000.0).marks
    assert [(mark.text, mark.harm) for mark in marks] == [("kill worker-2", True)]
    assert feed.now(now + 60) - marks[0].t == pytest.approx(5.0)


@pytest.mark.parametrize("apart_s", [0.02, 0.5, 3.0])
@pytest.mark.parametrize("kills", [2, 3, 5, 9])
def test_every_kill_in_a_row_has_a_label_or_is_counted_in_one(apart_s: float, kills: int) -> None:
    events = [Event(0.0, "broker_started")]
    events += [
        Event(8 + n * apart_s, "fault", detail={"fault": "kill", "target": f"worker-{n}"})
        for n in range(1, kills + 1)
    ]
    labels = [text for text in tags(chart_svg(moment(events=events))).texts if text.startswith("kill")]
    if kills <= 4 or apart_s == 3.0:
        assert labels == [f"kill worker-{n}" for n in range(1, kills + 1)]
    else:
        assert labels == [f"kill ×{kills}"]


@pytest.mark.parametrize("state", STATES)
def test_card_shows_the_tables_sign_word_tone_and_commands(state: str) -> None:
    of_process = bool(STATES[state].commands)
    row = worker(process=state) if of_process else worker(status=state)
    (card, *_) = moment(row).cards
    expected = STATES[state if state != "running" else "ready"]
    assert (card.sign, card.state, card.tone) == (expected.sign, expected.word, expected.tone)
    assert card.commands == set(STATES[state if of_process else "running"].commands)
    assert f".lk-{card.tone} .lk-state {{ color: {TONES[card.tone].on_light}; }}" in page.STYLE


# --- the page -----------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Checks that every tag is closed, and collects texts and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def tags(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def many_moments() -> list[view.Moment]:
    return [
        moment(),
        moment(*(worker(f"worker-{n}") for n in (1, 2, 3)), events=demo()),
        moment(worker(process="paused", status="suspect"), events=frozen()),
        moment(worker(status="absent"), broker="killed", answers=False),
        moment(worker("<b>&\"'", capabilities=["<i>"], restart_in_s=2.0, last_exit="<u>"), events=demo()[:1]),
    ]


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_page_is_well_formed_and_everything_is_escaped(lang: str) -> None:
    i18n.set_language(lang)
    for shown in many_moments():
        parsed = tags(page.static_html(shown))
        assert {"b", "i", "u"}.isdisjoint(set(page.face_html(shown.cards[0]).split("<")))
        assert all(card.name in "".join(parsed.texts) for card in shown.cards)
        assert page.text(shown).startswith("made: ")


def test_chart_has_a_bar_per_second_and_worker_and_a_description() -> None:
    shown = moment(*(worker(f"worker-{n}") for n in (1, 2, 3)), events=demo())
    parsed = tags(chart_svg(shown))
    bars = [value for name, value in parsed.attributes if name == "data-worker"]
    assert len(bars) == sum(len(second.by_worker) for second in shown.seconds)
    assert dict(parsed.attributes)["role"] == "img"
    assert "kill worker-2" in describe(shown) and "kill worker-2" in parsed.texts
    assert {"results per second", "seconds since the first event"} <= set(parsed.texts)


def test_replaced_panel_shows_so_only_while_the_newer_one_beats() -> None:
    html = page.superseded_html(7, "There is a newer one.")
    early, late = re.findall(r'<div class="([^"]+)"', html)
    assert "lk-early" in early and "lk-late" in late and "no longer live" in html
    assert re.search(rf"\.lk-early {{ animation: lk-early 0s linear {page.STALE_S}s", page.STYLE)


def test_chart_without_results_shows_a_note() -> None:
    assert "no results in this time" in tags(chart_svg(moment())).texts
    alone = moment(events=[Event(3.0, "done", "ab" * 16, 1, "worker-1")])
    assert "no results in this time" in tags(chart_svg(alone)).texts


def test_each_heartbeat_is_a_new_delayed_curtain_and_the_last_stays() -> None:
    assert page.beat_html(1) != page.beat_html(2)
    assert "lk-late" in page.beat_html(1) and "lk-late" not in page.closed_html("over")
    assert f"lk-late 0s linear {page.STALE_S}s" in page.STYLE


# --- widgets ------------------------------------------------------------------------------------------------


@pytest.fixture
def clicked() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def board(clicked: list[tuple[Any, ...]]) -> Board:
    return Board(
        lambda action, name: clicked.append((action, name)),
        lambda n: clicked.append(("scale", n)),
        lambda wanted: clicked.append(("work", wanted)),
        work=False,
    )


def test_board_shows_moments_and_reports_clicks(board: Board, clicked: list[tuple[Any, ...]]) -> None:
    board.show(moment(worker("worker-1"), worker("worker-2", process="killed")))
    board.say("a message")
    assert list(board._faces) == ["worker-1", "worker-2", "broker", "redis"]
    assert not board._buttons["worker-1", "kill"].disabled and board._buttons["worker-2", "kill"].disabled
    assert "a message" in board._said.value and board._slider.value == 2 and clicked == []
    board._buttons["worker-1", "kill"].click()
    board._slider.value = 5
    board._work.value = True
    assert clicked == [("kill", "worker-1"), ("scale", 5), ("work", True)]


def test_moved_slider_stays_until_the_cluster_has_another_size(
    board: Board, clicked: list[tuple[Any, ...]]
) -> None:
    board.show(moment(worker("worker-1")))
    board._slider.value = 3
    board.show(moment(worker("worker-1")))
    assert board._slider.value == 3
    board.show(moment(*(worker(f"worker-{n}") for n in range(1, 13))))
    assert (board._slider.value, board._slider.max) == (12, 12)
    assert clicked == [("scale", 3)]


def test_remaining_cards_keep_their_widgets_when_others_change(board: Board) -> None:
    board.show(moment(worker("worker-1"), worker("worker-2")))
    before = board._faces["worker-1"], board._cards.children[0]
    board.show(moment(worker("worker-1"), worker("worker-3")))
    assert (board._faces["worker-1"], board._cards.children[0]) == before
    assert "worker-2" not in board._faces and ("worker-2", "kill") not in board._buttons
    assert len(board._cards.children) == 4


def test_every_control_has_a_label_and_a_tooltip(board: Board) -> None:
    board.show(moment(worker()))
    for button in board._buttons.values():
        assert button.description and button.tooltip
    assert board._slider.description and board._work.description and board._work.tooltip


def test_closed_board_shows_the_reason_and_disables_its_controls(board: Board) -> None:
    board.show(moment(worker()))
    board.close("the cluster has gone")
    assert "the cluster has gone" in board._beat.value and "lk-closed" in board._beat.value
    assert all(button.disabled for button in board._buttons.values()) and board._slider.disabled


# --- the panel's life ---------------------------------------------------------------------------------------


class MadeCluster:
    """The part of a cluster that a panel uses. A test may replace each answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Callable[[], dict[str, Any]] = lambda: status(worker("worker-1"), worker("worker-2"))
        self.obstacle: Callable[[str, str], object] = lambda fault, name: None
        self.events: list[Event] = []

    def event_file(self) -> MadeCluster:
        return self

    def stream(self) -> list[Event]:
        new, self.events = self.events, []
        return new

    def status(self) -> dict[str, Any]:
        return self.answer()

    def scale(self, n: int) -> None:
        self.asked.append(("scale", n))

    def __getattr__(self, fault: str) -> Any:
        if fault not in COMMANDS:
            raise AttributeError(fault)

        def act(name: str) -> None:
            self.asked.append((fault, name))
            self.obstacle(fault, name)

        return act


@pytest.fixture
def cluster() -> MadeCluster:
    return MadeCluster()


@pytest.fixture
def live(cluster: MadeCluster) -> Iterator[Panel]:
    panel = Panel(cluster, live=True)  # type: ignore[arg-type]
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()
    yield panel
    panel.close()
    assert not [t for t in threading.enumerate() if t.name == "labkit-panel"]


def beats(panel: Panel) -> str:
    assert panel._board is not None
    return str(panel._board._beat.value)


def said(panel: Panel) -> str:
    assert panel._board is not None
    return str(panel._board._said.value)


def test_panel_without_a_frontend_is_static_and_starts_nothing(
    cluster: MadeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FRONTEND, raising=False)
    before = threading.active_count()
    panel = Panel(cluster)  # type: ignore[arg-type]
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "worker-1" in bundle["text/plain"] and "with buttons" in bundle["text/html"]
    assert "lk-curtain" not in bundle["text/html"].split("</style>")[1]
    assert threading.active_count() == before and not panel.is_live
    panel.close()


def test_kernel_that_a_server_started_for_a_notebook_has_a_frontend(
    cluster: MadeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FRONTEND, "day3.ipynb")
    panel = Panel(cluster)  # type: ignore[arg-type]
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_() and panel.is_live
    panel.close()
    assert "application/vnd.jupyter.widget-view+json" not in panel._repr_mimebundle_()


def test_panel_that_is_never_shown_starts_nothing(cluster: MadeCluster) -> None:
    before = threading.active_count()
    Panel(cluster, live=True).close()  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_panel_shown_twice_has_one_thread(live: Panel) -> None:
    live._repr_mimebundle_()
    assert [t.name for t in threading.enumerate()].count("labkit-panel") == 1


def test_live_panel_beats_and_a_closed_one_shows_the_reason(live: Panel) -> None:
    first = beats(live)
    wait_until(lambda: beats(live) != first, 5.0, "the next heartbeat")
    live.close("because of a test")
    assert not live.is_live and "because of a test" in beats(live)


def test_command_never_blocks_and_is_shown_while_it_runs(live: Panel, cluster: MadeCluster) -> None:
    hold = threading.Event()
    cluster.obstacle = lambda fault, name: hold.wait(10.0)
    began = time.monotonic()
    live.command("stop", "worker-1")
    live.command("stop", "worker-1")
    live.command("start", "worker-1")
    assert time.monotonic() - began < 5.0
    assert live._board is not None
    face = live._board._faces["worker-1"]
    wait_until(lambda: "stop …" in face.value, 5.0, "the card to show the running command")
    assert cluster.asked == [("stop", "worker-1")]
    live.command("kill", "worker-1")
    wait_until(lambda: ("kill", "worker-1") in cluster.asked, 5.0, "the kill that cuts the stop short")
    hold.set()
    wait_until(lambda: "…" not in face.value, 5.0, "the card to show no command")


def test_error_is_shown_in_words_and_the_panel_goes_on(live: Panel, cluster: MadeCluster) -> None:
    def refuse(fault: str, name: str) -> None:
        text = "{name} is {state}: {fault} does not apply"
        raise ClusterError(text, name=name, state="killed", fault=fault)

    cluster.obstacle = refuse
    live.command("pause", "worker-2")
    expected = "worker-2 is killed: pause does not apply"
    wait_until(lambda: expected in said(live), 5.0, "the error on the panel")
    cluster.obstacle = lambda fault, name: None
    live.command("pause", "worker-2")
    wait_until(lambda: said(live) == "", 5.0, "the error to go with the next command")
    assert live.is_live


def test_bug_in_a_command_is_shown_and_logged(
    live: Panel, cluster: MadeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(fault: str, name: str) -> None:
        raise ZeroDivisionError("planted")

    cluster.obstacle = break_down
    live.command("kill", "worker-1")
    wait_until(lambda: "ZeroDivisionError: planted" in said(live), 5.0, "the bug on the panel")
    assert "planted" in caplog.text and live.is_live


def test_panel_of_a_cluster_that_goes_down_shows_it_and_ends(live: Panel, cluster: MadeCluster) -> None:
    def down() -> dict[str, Any]:
        raise ClusterNotRunning("no cluster")

    cluster.answer = down
    wait_until(lambda: not live.is_live, 5.0, "the panel to end")
    wait_until(
        lambda: "The cluster of this panel is down." in beats(live), 5.0, "the panel to show the reason"
    )


def test_cluster_without_an_answer_stops_the_heartbeat_until_it_answers(
    live: Panel, cluster: MadeCluster
) -> None:
    good = cluster.answer

    def silent() -> dict[str, Any]:
        raise BrokerUnreachable("no answer")

    cluster.answer = silent
    wait_until(lambda: "no answer" in said(live), 5.0, "the panel to show it")
    still = beats(live)
    cluster.answer = good
    wait_until(lambda: beats(live) != still and said(live) == "", 5.0, "the panel to go on")


def test_slider_scales_the_cluster_without_waiting(live: Panel, cluster: MadeCluster) -> None:
    assert live._board is not None
    live._board._slider.value = 4
    wait_until(lambda: ("scale", 4) in cluster.asked, 5.0, "the cluster to be scaled")


def test_panel_of_a_gone_cluster_shows_the_error_and_raises_nothing(cluster: MadeCluster) -> None:
    def down() -> dict[str, Any]:
        raise ClusterNotRunning("no cluster")

    cluster.answer = down
    panel = Panel(cluster, live=True)  # type: ignore[arg-type]
    assert panel._repr_mimebundle_()["text/plain"] == "no cluster" == repr(panel)
    assert not panel.is_live


def test_the_widgets_are_not_loaded_by_a_clusters_own_processes() -> None:
    code = "import sys, labkit.cluster.local.start as _, labkit.cluster.supervisor.supervisor; "
    code += "sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
