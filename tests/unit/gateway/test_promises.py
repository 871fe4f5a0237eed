"""Day 3's targets on a running cluster: met, missed, or not measured yet."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from labkit.gateway.last_fault import Chain
from labkit.gateway.promises import Compared, Measured, Promise, heading, links, promises
from labkit.panel.feed import Second
from labkit.support.i18n import in_language
from tests.tools.panel_moments import worker

WORKERS = tuple(worker(f"worker-{n}") for n in (1, 2, 3))
EVEN = [Second(t, {"worker-1": 5, "worker-2": 6, "worker-3": 5}) for t in range(40, 60)]


def chain(**changes: Any) -> Chain:
    known = {
        "noticed_at": 50.1,
        "requeued_at": 50.1,
        "elsewhere_at": 50.4,
        "back_at": 53.0,
        "held": 2,
        "results": Counter({"worker-1": 20, "worker-3": 22}),
        "cause": "closed",
        "before": {"worker-1": 50, "worker-2": 60, "worker-3": 50},
    }
    return Chain(**{"fault": "kill", "target": "worker-2", "began_at": 50.0, **known, **changes})


def measured(**changes: Any) -> dict[str, Promise]:
    known = {
        "workers": WORKERS,
        "seconds": EVEN,
        "chain": None,
        "done": 320,
        "late": 1,
        "twice": 0,
        "compared": None,
        "now": 60.0,
    }
    return {row.id: row for row in promises(Measured(**{**known, **changes}))}


def met(**changes: Any) -> dict[str, bool | None]:
    return {name: row.met for name, row in measured(**changes).items()}


def test_without_a_fault_only_what_can_be_measured_is() -> None:
    assert met() == {
        "workers_active": True,
        "equal_shares": True,
        "others_suffice": None,
        "recovery": None,
        "nothing_lost": None,
        "nothing_twice": True,
        "same_pixels": None,
    }


def test_after_a_recovery_all_are_met() -> None:
    rows = measured(chain=chain(), compared=Compared(4, True))
    assert all(row.met for row in rows.values())
    assert rows["recovery"].measured == "0.40 s"
    assert rows["others_suffice"].measured == "42 results in 2.90 s, 0 failed"
    assert "before the fault" in rows["equal_shares"].measured


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"workers": (*WORKERS[:2], worker("worker-3", process="killed", status="lost"))}, "workers_active"),
        ({"seconds": [Second(t, {"worker-1": 20, "worker-2": 1, "worker-3": 5}) for t in range(60)]},
         "equal_shares"),
        ({"chain": chain(failed=1)}, "others_suffice"),
        ({"chain": chain(elsewhere_at=90.0)}, "recovery"),
        ({"chain": chain(elsewhere_at=None), "now": 90.0}, "recovery"),
        ({"chain": chain(open={"a"}), "now": 90.0}, "nothing_lost"),
        ({"twice": 1}, "nothing_twice"),
        ({"compared": Compared(4, False)}, "same_pixels"),
    ],
)  # fmt: skip
def test_a_target_that_is_missed_says_so(changes: dict[str, Any], missed: str) -> None:
    assert met(**changes)[missed] is False


def test_while_a_recovery_is_under_way_nothing_is_missed() -> None:
    under_way = met(chain=chain(elsewhere_at=None, open={"a"}, results=Counter()), now=51.0)
    assert (under_way["recovery"], under_way["nothing_lost"], under_way["others_suffice"]) == (None,) * 3


def test_few_results_make_no_share() -> None:
    few = [Second(t, {"worker-1": 1}) for t in range(5)]
    assert measured(seconds=few)["equal_shares"].met is None
    assert measured(workers=(), seconds=[])["workers_active"].met is False


def test_links_of_a_recovery_show_what_has_been_reached() -> None:
    rows = links(chain(restored_at=None, unrestored="few_before"))
    assert [(row.after, row.reached) for row in rows] == [
        ("0.10 s", True),
        ("0.10 s", True),
        ("0.40 s", True),
        ("cannot be said: too few results before the fault", False),
    ]
    assert [row.after for row in links(Chain("kill", "worker-1", 1.0))] == ["…", "…", "…", "…"]
    assert links(Chain("kill", "worker-1", 1.0, noticed_at=1.5))[1].after == "it held none"
    assert heading(chain()) == "kill worker-2 (its connection closed)"
    assert heading(Chain("", "worker-1", 1.0)) == "worker-1 lost"


def test_targets_and_links_are_in_the_readers_language() -> None:
    with in_language("es"):
        assert measured()["nothing_lost"].title == "nada se pierde"
        assert "broker" in links(chain())[0].name and "noticed" not in links(chain())[0].name


def test_shares_before_a_fault_do_not_change_with_the_last_minute() -> None:
    then = measured(chain=chain())["equal_shares"]
    assert (then.measured, then.met) == ("31 %, 38 %, 31 % before the fault", True)
    uneven = [Second(t, {"worker-1": 20}) for t in range(70, 130)]
    assert measured(chain=chain(), seconds=uneven, now=130.0)["equal_shares"] == then
    assert measured(chain=chain(), seconds=[], now=500.0, workers=WORKERS[:1])["equal_shares"] == then


def test_too_few_results_before_a_fault_leave_the_time_after_it() -> None:
    few = {"worker-1": 1, "worker-2": 0, "worker-3": 0}
    away = measured(chain=chain(before=few, back_at=None))["equal_shares"]
    assert (away.met, away.measured) == (None, "too few results to say")
    back = measured(chain=chain(before=few))["equal_shares"]
    assert (back.met, back.measured) == (True, "31 %, 38 %, 31 % in the last minute")


def test_links_of_a_brokers_fault_have_its_own_words() -> None:
    killed = chain(cause="", target="broker")
    assert [row.name for row in links(killed)][:3] == [
        "a new broker takes up its work",
        "open tasks in the queue again",
        "first of them done",
    ]
    assert measured(chain=killed)["nothing_lost"].measured == "2 of 2 open tasks have their outcome"
    frozen = links(chain(target="broker", fault="pause", woke=True, requeued_at=None))
    assert (frozen[0].name, frozen[1].after) == ("the broker answers again", "none had to be")
    assert links(chain(target="broker", held=0))[2].after == "0.40 s"
    assert links(chain(target="broker", held=0, elsewhere_at=None))[2].after == "no task was open"


def test_a_task_that_its_own_worker_did_after_all_was_not_done_by_another() -> None:
    assert links(chain(elsewhere_by="worker-1"))[2].name == "first of them done by another"
    assert links(chain(elsewhere_by="worker-2"))[2].name == "first of them done, by itself"
