"""The panel's view: a status and a feed become cards, rates and words."""

from __future__ import annotations

from typing import cast

import pytest

from labkit.cluster.status import ClusterStatus
from labkit.cluster.status_text import COMMANDS, STATES, TONES
from labkit.core.history import Event
from labkit.panel import page, view
from labkit.panel.chart import chart_svg
from labkit.panel.feed import HARM, PLAIN, Feed
from labkit.panel.view import moment_of
from labkit.support import i18n
from labkit.support.palette import worker_colour
from tests.tools.made_histories import demo
from tests.tools.panel_moments import feed_of, moment, status, tags, worker


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


def test_a_broker_whose_container_was_removed_is_a_problem_too() -> None:
    told = {**status(worker(status="absent")), "broker": None, "broker_error": "silence"}
    told["processes"] = [row for row in told["processes"] if row["kind"] != "broker"]
    shown = moment_of(cast(ClusterStatus, told), Feed(), 0.0)
    assert "does not answer" in shown.problem


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


def test_faults_that_no_broker_could_record_are_in_the_log_at_their_time() -> None:
    told = status(worker())
    told["unrecorded_faults"] = [
        {"fault": "kill", "target": "worker-2", "wall": 941.0},
        {"fault": "resume", "target": "broker", "wall": 999.5},
        {"fault": "kill", "target": "worker-1", "wall": 1.0},  # before this history began
        {"fault": "kill", "target": "worker-3"},
    ]
    feed, now = feed_of(demo())
    log = moment_of(cast(ClusterStatus, told), feed, now + 60, wall=1000.0).log
    assert [line.t for line in log] == sorted((line.t for line in log), reverse=True)
    assert [(line.text, line.mood, line.worker) for line in log if "no broker" in line.text] == [
        ("command: resume broker; no broker could record it", PLAIN, "broker"),
        ("command: kill worker-2; no broker could record it", HARM, "worker-2"),
    ]
    assert len(log) == len(feed.log) + 2
    assert moment_of(cast(ClusterStatus, told), feed, now).log == tuple(reversed(feed.log))


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
