"""Ctrl-C is deferred during a critical block, and then acts as if it had arrived afterwards."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from labkit.broker.service import Broker
from labkit.support import signals as signals_module
from labkit.support.signals import DeferredSignals, sigint_blocked, stop_signals
from tests.tools.waiting import require, wait_until
from workers.worker import Worker


def test_ctrl_c_waits_until_the_block_has_ended() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with DeferredSignals(lambda: steps.append("woken")) as signals:
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")
            assert signals.received == [signal.SIGINT]
    assert steps == ["woken", "whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows blocks nothing")
def test_a_child_started_with_sigint_blocked_ignores_ctrl_c() -> None:
    program = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with sigint_blocked():
            signal.raise_signal(signal.SIGINT)
            steps.append(subprocess.check_output([sys.executable, "-c", program], text=True).strip())
    assert steps == ["True"]
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_a_handler_of_the_program_is_called_once_after_the_block() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with DeferredSignals(lambda: None):
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_in_the_block_is_not_hidden_and_the_handlers_are_back() -> None:
    with pytest.raises(ValueError, match="mine"), DeferredSignals(lambda: None):
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_handlers_are_restored_defers_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[int] = []
    put_back = signals_module._set

    def slowly(number: int, handler: object) -> None:
        put_back(number, handler)
        if number == signal.SIGINT and handler is signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(KeyboardInterrupt), DeferredSignals(lambda: None):
            signal.raise_signal(signal.SIGTERM)
            monkeypatch.setattr(signals_module, "_set", slowly)
        assert heard == [signal.SIGTERM], "it came during the block, and is not lost"
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2, "and its handler is back"
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_break_stops_broker_and_worker_where_it_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require(hasattr(signal, "SIGUSR1"), "a signal that plays Ctrl-Break, by which Windows' supervisor asks")
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    before = {number: signal.getsignal(number) for number in stop_signals()}
    asked: list[str] = []
    try:
        worker = SimpleNamespace(_on_signal=lambda *_: asked.append("worker"))
        Worker.stop_on_signals(worker)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGUSR1)
        sender, receiver = socket.socketpair()
        with sender, receiver:
            sender.setblocking(False)
            waker = SimpleNamespace(signal_fd=sender.fileno())
            broker = SimpleNamespace(stop=lambda: asked.append("broker"), _waker=waker)
            Broker.stop_on_signals(broker)  # type: ignore[arg-type]
            signal.raise_signal(signal.SIGUSR1)
            signal.set_wakeup_fd(-1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert asked == ["worker", "broker"]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with DeferredSignals(lambda: None) as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.received == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_block_changes_nothing_in_another_thread() -> None:
    seen: list[object] = []
    leave = threading.Event()

    def block() -> None:
        with DeferredSignals(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))
            leave.wait(10)

    thread = threading.Thread(target=block)
    thread.start()
    wait_until(lambda: seen, what="the thread to be in its block")
    assert seen == [signal.default_int_handler]
    leave.set()
    thread.join()
