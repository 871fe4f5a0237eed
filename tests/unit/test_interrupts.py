"""Ctrl-C is put off while something must not be torn, and then acts as if it had come afterwards."""

from __future__ import annotations

import signal
import threading

import pytest

from labkit.interrupts import PutOff
from tests.support import wait_until


def test_ctrl_c_waits_until_the_block_has_ended() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with PutOff(lambda: steps.append("woken")) as signals:
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")
            assert signals.noted == [signal.SIGINT]
    assert steps == ["woken", "whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_is_called_once_after_the_block() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with PutOff(lambda: None):
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_in_the_block_is_not_hidden_and_the_handlers_are_back() -> None:
    with pytest.raises(ValueError, match="mine"), PutOff(lambda: None):
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with PutOff(lambda: None) as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.noted == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_touched() -> None:
    seen: list[object] = []
    leave = threading.Event()

    def block() -> None:
        with PutOff(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))
            leave.wait(10)

    thread = threading.Thread(target=block)
    thread.start()
    wait_until(lambda: seen, what="the thread to be in its block")
    assert seen == [signal.default_int_handler]
    leave.set()
    thread.join()
