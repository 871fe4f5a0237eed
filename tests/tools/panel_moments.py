"""What the panel's tests look at: statuses made by hand, their moments, and a page's tags."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, cast

from labkit.cluster.status import ClusterStatus
from labkit.core.history import Event
from labkit.panel import view
from labkit.panel.feed import Feed
from labkit.panel.view import moment_of
from tests.tools.made_histories import demo, frozen

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
