"""A future has one outcome, the first, and nothing that a user does with it ends the thread that settles."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from labkit.client import settle
from labkit.client.callbacks import Callbacks
from tests.tools.patching import replaced_here


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)


@pytest.mark.parametrize("ours", ["succeed", "fail", "mark_running", "cancel"])
@pytest.mark.parametrize("theirs", ["result", "exception", "cancelled", "cancelled and told"])
def test_the_users_own_outcome_stands(ours: str, theirs: str) -> None:
    future: Future[Any] = Future()
    if theirs == "result":
        future.set_result("theirs")
    elif theirs == "exception":
        future.set_exception(KeyError("theirs"))
    else:
        future.cancel()
        if theirs == "cancelled and told":
            future.set_running_or_notify_cancel()
    do = {
        "succeed": lambda: settle.succeed(future, "ours"),
        "fail": lambda: settle.fail(future, ValueError("ours")),
        "mark_running": lambda: settle.mark_running(future),
        "cancel": lambda: settle.cancel(future),
    }
    do[ours]()
    assert future.done()
    if theirs == "result":
        assert future.result(0) == "theirs"
    elif theirs == "exception":
        assert isinstance(future.exception(0), KeyError)
    else:
        assert future.cancelled()


def test_a_running_future_can_still_be_told_that_its_task_is_cancelled() -> None:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    settle.mark_running(future)  # twice is no harm
    settle.cancel(future)
    with pytest.raises(CancelledError):
        future.result(0)


def test_a_function_attached_past_our_own_method_cannot_exit_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    future: Future[Any] = Future()
    future.add_done_callback(lambda _: sys.exit(3))
    settle.succeed(future, 1)
    assert future.result(0) == 1 and "SystemExit: 3" in caplog.text


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Exits(), ValueError("x")]
)
def test_whatever_a_callback_raises_the_next_one_is_called(error: BaseException) -> None:
    callbacks, called = Callbacks(), threading.Event()

    def raise_it() -> None:
        raise error

    callbacks.put(raise_it)
    callbacks.put(called.set)
    assert called.wait(10)
    callbacks.close()


def test_a_log_filter_that_raises_does_not_end_the_callbacks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_record: logging.LogRecord) -> bool:
        raise SystemExit("the program's own filter")

    log = logging.getLogger("labkit.client.callbacks")
    monkeypatch.setattr(log, "filters", [refuse])
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    callbacks, called = Callbacks(), threading.Event()
    callbacks.put(lambda: 1 / 0)
    callbacks.put(called.set)
    assert called.wait(10)
    callbacks.close()
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_after_a_close_a_callback_gets_a_new_thread() -> None:
    callbacks, called = Callbacks(), threading.Event()
    callbacks.put(lambda: None)
    callbacks.close()
    callbacks.put(called.set)
    assert called.wait(10)
    callbacks.close()


def test_a_thread_that_cannot_be_started_is_tried_again() -> None:
    callbacks, called = Callbacks(), threading.Event()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with replaced_here(threading.Thread, "start", refuse):
        with pytest.raises(RuntimeError):
            callbacks.put(called.set)
    callbacks.put(called.set)
    assert called.wait(10)
    callbacks.close()
