"""Leaving: a client that is closed, forgotten, killed or frozen; no future is left without an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.core.errors import (
    BrokerUnreachable,
    ClientGone,
)
from tests.tools.rig import ROOT, Rig
from tests.tools.waiting import require, wait_until

timing = pytest.mark.xdist_group("timing")

# --- leaving ------------------------------------------------------------------------------------------------


def test_closing_with_open_tasks_fails_and_cancels_them(rig: Rig, gate: Path) -> None:
    client = rig.client()
    running = rig.blocked(client, gate)
    waiting = [client.submit(jobs.echo, number) for number in range(50)]
    client.close()
    for future in [running, *waiting]:
        assert isinstance(future.exception(0), ClientGone) and future.task_id in str(future.exception(0))
    for future in [running, *waiting]:
        rig.wait_for_event("cancelled", task=future.task_id)
    assert client.open_tasks == 0


def test_closing_can_wait_for_open_tasks(rig: Rig) -> None:
    client = rig.client()
    futures = [client.submit(jobs.sleep_for, 0.001) for _ in range(100)]
    client.close(wait=True)
    assert [future.result(0) for future in futures] == [0.001] * 100


def test_a_closed_client_raises_at_once(rig: Rig) -> None:
    client = rig.client()
    client.close()
    client.close()
    questions: list[Callable[[], Any]] = [
        lambda: client.submit(jobs.echo, 1),
        client.status,
        lambda: client.note("kill", "worker-1"),
    ]
    for ask in questions:
        with pytest.raises(BrokerUnreachable, match="closed"):
            ask()


def test_many_threads_may_close_while_others_submit(rig: Rig) -> None:
    client = rig.client()
    futures: list[Future[Any]] = []

    def submit() -> None:
        try:
            while True:
                futures.append(client.submit(jobs.echo, 1))
        except BrokerUnreachable:
            return

    submitting = [threading.Thread(target=submit) for _ in range(3)]
    closing = [threading.Thread(target=client.close) for _ in range(3)]
    for thread in submitting:
        thread.start()
    wait_until(lambda: len(futures) > 200, what="some tasks")
    for thread in closing:
        thread.start()
    for thread in [*submitting, *closing]:
        thread.join(20)
        assert not thread.is_alive()
    done, not_done = wait(futures, 5)
    assert not not_done
    assert {type(future.exception(0)) for future in done} <= {type(None), ClientGone}


def test_a_callback_may_submit_cancel_and_close(rig: Rig) -> None:
    client = rig.client()
    more: list[Any] = []
    closed = threading.Event()

    def go_on(future: Future[Any]) -> None:
        second = client.submit(jobs.echo, future.result() + 1)
        more.append(second.result(10))
        client.close()
        closed.set()

    client.submit(jobs.echo, 1).add_done_callback(go_on)
    assert closed.wait(10) and more == [2]


def test_a_callback_that_fails_harms_no_other(client: Client) -> None:
    future = client.submit(jobs.echo, 1)
    future.add_done_callback(lambda _: 1 / 0)
    assert [f.result() for f in as_completed([future, client.submit(jobs.echo, 2)], 10)] != []
    assert client.submit(jobs.echo, 3).result(10) == 3


def script(rig: Rig, text: str) -> subprocess.Popen[str]:
    """Return a started program that has a client."""
    program = "from labkit import jobs\nfrom labkit.client.client import Client\n"
    program += "from labkit.security.credentials import Token\n"
    program += f"client = Client({rig.address!r}, Token({rig.token!r}))\n" + textwrap.dedent(text)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_program_without_close_ends_and_cancels_its_tasks(rig: Rig, gate: Path) -> None:
    with script(
        rig,
        f"""
        running = client.submit("work:wait_for", {str(gate)!r})
        waiting = [client.submit(jobs.echo, n) for n in range(10)]
        while not running.running(): pass
        print(*[f.task_id for f in [running, *waiting]])
        """,
    ) as program:
        said, complaints = program.communicate(timeout=20)
    assert (program.returncode, complaints) == (0, "")
    for task in said.split():
        rig.wait_for_event("cancelled", task=task)


def test_tasks_of_a_vanished_client_are_cancelled_after_a_while(rig: Rig, gate: Path) -> None:
    with script(
        rig,
        f"""
        running = client.submit("work:wait_for", {str(gate)!r})
        waiting = [client.submit(jobs.echo, n) for n in range(10)]
        while not running.running(): pass
        print(*[f.task_id for f in [running, *waiting]], flush=True)
        waiting[0].result()
        """,
    ) as program:
        assert program.stdout is not None
        tasks = program.stdout.readline().split()
        assert len(tasks) == 11
        program.kill()
        program.wait(10)
    for task in tasks:
        assert rig.wait_for_event("cancelled", task=task).detail["cause"] == "client gone"
    gate.touch()
    wait_until(lambda: rig.status()["assigned"] == 0, what="the worker to be free")


@timing
@pytest.mark.slow
def test_a_client_that_is_frozen_for_a_while_gets_all_its_results(rig: Rig) -> None:
    require(hasattr(signal, "SIGSTOP"), "a signal that freezes a process")
    with script(
        rig,
        """
        futures = [client.submit(jobs.sleep_for, 0.02) for _ in range(50)]
        print("go", flush=True)
        print(sum(f.result(30) for f in futures))
        """,
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == "go\n"
        program.send_signal(signal.SIGSTOP)
        wait_until(lambda: rig.status()["queued"] == 0, 10, "the broker to give it up (half a second here)")
        program.send_signal(signal.SIGCONT)
        said, complaints = program.communicate(timeout=30)
    assert (round(float(said), 6), complaints) == (1.0, "")
