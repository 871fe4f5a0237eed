"""A worker's watchdog ends a process in which one thread keeps the interpreter lock, and no other process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no timer of processor time")

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import threading, time
from labkit.jobs import hog, spin
from workers import watchdog
watchdog.SLACK_S = 0.0
dog = watchdog.Watchdog()
dog.restart({lease_s})
"""
PATIENCE_S = 60


@contextmanager
def a_process(program: str, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    """Yield the running process of ``program``, with a watchdog."""
    text = BEGIN.format(lease_s=lease_s) + program
    process = subprocess.Popen(
        [sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_keeps_the_gil_ends_with_a_traceback() -> None:
    program = """
begin = threading.Event()
threading.Thread(target=lambda: begin.wait() and hog()).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # the youngest, as in a worker
begin.set()
time.sleep(60)
print("not reached", flush=True)
"""
    with a_process(program, lease_s=0.2) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGPROF
    first_line = err.partition("Current thread")[2].splitlines()[1]
    assert 'labkit/jobs.py", line' in first_line and "in hog" in first_line


def test_a_process_that_computes_but_releases_the_gil_lives_on() -> None:
    program = """
thread = threading.Thread(target=spin, args=(1.0,))
thread.start()
while thread.is_alive():
    dog.restart(0.3)
    thread.join(0.02)
print("whole")
"""
    with a_process(program, lease_s=0.3) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "whole\n", "")


def test_a_sleeping_process_lives_on() -> None:
    with a_process("time.sleep(0.5); print('awake')", lease_s=0.2) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "awake\n", "")


def test_a_process_frozen_for_longer_than_its_lease_lives_on() -> None:
    program = "import os, signal; spin(0.1); os.kill(os.getpid(), signal.SIGSTOP); spin(0.1); print('woke')"
    with a_process(program, lease_s=0.5) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(1.0)  # this is the test: that time does not count
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "woke\n", "")


def test_a_worker_without_a_standard_error_has_a_watchdog_all_the_same() -> None:
    program = BEGIN.format(lease_s=0.2) + "hog()\n"
    ran = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program], cwd=ROOT, timeout=PATIENCE_S
    )
    assert ran.returncode == -signal.SIGPROF
