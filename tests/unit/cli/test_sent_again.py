"""Why tasks changed workers, in ``submit`` and ``stop``: the cause from the history, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cli import process_commands, sent_again
from labkit.cli.batch import Report, Written
from labkit.cluster.history_file import EventFile
from labkit.core.history import Event, causes, encode_events
from labkit.support.i18n import set_language
from tests.tools.made_histories import note, task_id


def report(*attempts: int) -> Report:
    written = [
        Written(Path(f"{n}.png"), Path(f"out/{n}.png"), "worker-1", attempt, task=task_id(n))
        for n, attempt in enumerate(attempts)
    ]
    return Report(written=written)


def history(folder: Path, *events: Event) -> EventFile:
    (folder / "events.jsonl").write_text(encode_events(events) + "\n")
    return EventFile(folder / "events.jsonl")


def test_a_returned_task_and_one_of_a_killed_worker_are_told_apart(tmp_path: Path) -> None:
    events = history(
        tmp_path,
        *(note(1, "dispatched", "worker-2", task_id(n), 1) for n in (0, 1)),
        note(2, "draining", "worker-2"),
        note(2, "requeued", "worker-2", task_id(0), 1, cause="returned"),
        note(3, "fault", fault="kill", target="worker-2"),
        note(3, "lost", "worker-2", cause="closed"),
        note(3, "requeued", "worker-2", task_id(1), 1, cause="lost"),
        *(note(4, "dispatched", "worker-1", task_id(n), 2) for n in (0, 1)),
        note(4, "dispatched", "worker-1", task_id(2), 1),
        *(note(5, "done", "worker-1", task_id(n), 2) for n in (0, 1, 2)),
    )
    again = sent_again.sent_again(events, report(2, 2, 1))
    assert again == {task_id(0): [causes.RETURNED], task_id(1): [causes.KILLED]}
    text = sent_again.again_in_words(again)
    assert text.startswith("2 of them were sent to a worker again: 1 × its worker was")
    assert "1 × its worker was killed" in text and "gave it back" in text


def test_tasks_that_a_new_broker_got_are_told_though_each_has_one_attempt(tmp_path: Path) -> None:
    events = history(
        tmp_path,
        note(1, "dispatched", "worker-2", task_id(0), 1),
        note(2, "broker_started", epoch="e2"),
        note(3, "dispatched", "worker-1", task_id(0), 1),
        note(4, "done", "worker-1", task_id(0), 1),
    )
    again = sent_again.sent_again(events, report(1))
    assert sent_again.again_in_words(again) == (
        "1 of them was sent to a worker again: the broker that had it is gone, and the next one got it."
    )


def test_without_a_history_no_cause_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_again, "HISTORY_S", 0.0)
    again = sent_again.sent_again(EventFile(tmp_path / "events.jsonl"), report(1, 2))
    assert again == {task_id(1): [causes.UNKNOWN]}
    set_language("es")
    assert "la historia no muestra por qué" in sent_again.again_in_words(again)


LEFT = note(3, "left", "worker-2")


@pytest.mark.parametrize(
    ("about", "killed", "words"),
    [
        ([note(2, "draining", "worker-2"), LEFT], False, "finished its tasks"),
        (
            [note(2, "requeued", "worker-2", task_id(1), 1, cause="returned"), LEFT],
            False,
            "gave 1 waiting task",
        ),
        (
            [LEFT, note(3, "requeued", "worker-2", task_id(1), 1, cause="left")],
            False,
            "did not finish 1 task in",
        ),
        (
            [LEFT] + [note(3, "requeued", "worker-2", task_id(n), 1, cause="left") for n in (1, 2)],
            False,
            "2 tasks",
        ),
        ([note(3, "requeued", "worker-2", task_id(1), 1, cause="lost")], True, "its tasks go to others"),
        ([note(3, "lost", "worker-2", cause="closed")], True, "was killed. It stays"),
        ([], False, "worker-2 is down."),
    ],
)
def test_stop_reports_what_the_history_shows(about: list[Event], killed: bool, words: str) -> None:
    text = process_commands._how_it_left(about, killed).format(target="worker-2")
    assert words in text
    assert ("finished its tasks" in text) == (words == "finished its tasks")
