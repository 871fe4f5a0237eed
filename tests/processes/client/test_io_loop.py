"""One thread leads a client's I/O loop: one that waits for a result, or the loop's own. Never both."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.core.errors import LabkitError
from tests.tools.rig import Rig
from tests.tools.waiting import wait_until


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A broker with two workers."""
    with Rig(tmp_path_factory.mktemp("rig"), workers=2) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Client:
    """Return a client of that broker; the rig closes it."""
    return rig.client()


def resolvers(client: Client) -> list[int]:
    """Return a list of the threads that handle outcomes from now on, one entry per outcome."""
    threads: list[int] = []
    resolve = client._resolve

    def noted(*args: object) -> None:
        threads.append(threading.get_ident())
        resolve(*args)  # type: ignore[arg-type]

    client._resolve = noted  # type: ignore[method-assign,assignment]
    return threads


def test_a_thread_that_waits_for_results_reads_them_itself(client: Client) -> None:
    threads = resolvers(client)
    assert [client.submit(jobs.echo, number).result(20) for number in range(50)] == list(range(50))
    assert len(threads) == 50
    assert threads.count(threading.get_ident()) > 25, "on a busy machine some may be the other's"


def test_without_waiting_threads_the_loops_own_thread_reads(client: Client) -> None:
    client.submit(jobs.echo, 0).result(20)  # this thread has just led
    threads = resolvers(client)
    called = threading.Event()
    future = client.submit(jobs.echo, 1)
    future.add_done_callback(lambda _: called.set())
    assert called.wait(20), "a callback needs no thread that waits for the result"
    assert future.result(0) == 1 and threading.get_ident() not in threads


def test_an_idle_client_keeps_sending_heartbeats(rig: Rig, client: Client) -> None:
    client.submit(jobs.echo, 0).result(20)
    before = client._session._last_sent
    wait_until(lambda: client._session._last_sent > before, what="a heartbeat without any call")


def test_many_threads_that_wait_at_once_are_all_served(client: Client) -> None:
    def ask(number: int) -> int:
        return sum(client.submit(jobs.echo, number).result(30) for _ in range(20))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [20 * number for number in range(16)]


def test_a_long_lead_lets_others_submit_wait_and_cancel(client: Client) -> None:
    slow = client.submit(jobs.sleep_for, 0.5)
    leader = threading.Thread(target=slow.result, args=(20,))
    leader.start()
    quick = [client.submit(jobs.echo, number) for number in range(20)]
    done, missing = wait(quick, 20)
    assert len(done) == 20 and not missing
    line = [client.submit(jobs.sleep_for, 0.5) for _ in range(8)]
    assert line[-1].cancel()
    for future in line[:-1]:
        future.cancel()
    leader.join(20)
    assert not leader.is_alive() and slow.done()


def test_a_late_result_is_a_timeout_and_arrives_later(client: Client) -> None:
    future = client.submit(jobs.sleep_for, 0.3)
    with pytest.raises(TimeoutError):
        future.result(0.05)
    assert future.exception(20) is None


def test_ctrl_c_interrupts_a_thread_that_leads_and_the_client_goes_on(client: Client) -> None:
    assert threading.current_thread() is threading.main_thread(), "only there is a handler ever run"
    client.submit(jobs.echo, 0).result(20)
    slow = client.submit(jobs.sleep_for, 1.0)

    def interrupt() -> None:
        wait_until(lambda: client._io_loop._claim.locked(), what="the main thread to lead")
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=interrupt)
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        slow.result(20)
    killer.join()
    assert not slow.done(), "it was the waiting that was interrupted"
    assert client.submit(jobs.echo, 1).result(20) == 1
    assert slow.exception(20) is None


def test_interrupts_at_any_moment_lose_nothing(client: Client) -> None:
    """A storm of Ctrl-C over a loop of round trips: every task still has its one outcome."""
    interrupted = 0
    futures: list[Future[int]] = []
    storming, over = threading.Event(), threading.Event()

    def interrupt(*_: object) -> None:
        if storming.is_set():  # else it would hit the test itself
            storming.clear()
            raise KeyboardInterrupt

    def storm() -> None:
        pace = 0.001
        while not over.wait(pace):
            os.kill(os.getpid(), signal.SIGINT)
            pace = 0.001 + (pace * 7919) % 0.009

    before = signal.signal(signal.SIGINT, interrupt)
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        ends_at = time.monotonic() + 2
        while time.monotonic() < ends_at or not (interrupted and futures):
            try:
                storming.set()
                future = client.submit(jobs.echo, len(futures))
                futures.append(future)
                future.result(20)
                storming.clear()
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert [future.result(20) for future in futures] == [*range(len(futures))]
    wait_until(lambda: client.open_tasks == 0, 20, "those whose future the interrupt took away")
    assert client.duplicates == 0


def test_closing_frees_a_thread_that_leads(rig: Rig, tmp_path: Path) -> None:
    client = rig.client()
    future = client.submit(jobs.sleep_for, 5)
    errors: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: errors.append(future.exception(20)))
    thread.start()
    wait_until(lambda: client._io_loop._claim.locked(), what="the thread to lead")
    client.close()
    thread.join(10)
    assert [type(error).__name__ for error in errors] == ["ClientGone"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_an_error_and_spares_the_parent(client: Client) -> None:
    client.submit(jobs.echo, 0).result(20)
    slow = client.submit(jobs.sleep_for, 0.3)
    pid = os.fork()
    if pid == 0:
        refused = 0
        try:
            for ask in (lambda: slow.result(20), lambda: client.submit(jobs.echo, 1), client.status):
                with contextlib.suppress(LabkitError):
                    ask()
                    break
                refused += 1
            client.close(wait=True)
        finally:
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert slow.result(20) == 0.3 and client.submit(jobs.echo, 2).result(20) == 2
