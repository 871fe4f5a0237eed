"""Jobs that submit a task to their own cluster, and wait for it in one way or another, or do something else.

``tests/processes/client/test_nested_tasks.py`` copies this file into the folder ``work`` of a cluster.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing.pool
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from labkit.client.client import Client
from labkit.security.credentials import Token

INNER = "work:nest"
SLEEPER = [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[1]))"]


def wait_by(how: str, gate: str, address: str, secret: str) -> int:
    """Submit a task when the file ``gate`` exists, and wait for it in this way."""
    _pass(gate)
    with Client(address, Token(secret)) as client:
        inner = client.submit(INNER, address, secret, 0)
        if how == "another client":
            return _another_client(inner, address, secret)
        if how == "a pool that submits":
            return _pool_that_submits(gate, address, secret)
        return 1 + WAITS[how](inner)


def go_on_with(what: str, gate: str, address: str, secret: str, seconds: float) -> bool:
    """Submit a task with a callback, and do something else than waiting for it."""
    _pass(gate)
    with Client(address, Token(secret)) as client:
        inner = client.submit(INNER, address, secret, 0)
        inner.add_done_callback(id)
        GO_ON[what](seconds)
        return inner.cancel()


def _pass(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.01)


def _wrap_future(inner: Future[int]) -> int:
    async def main() -> int:
        return await asyncio.wrap_future(inner)

    return asyncio.run(main())


def _gather(inner: Future[int]) -> int:
    async def main() -> int:
        return (await asyncio.gather(asyncio.wrap_future(inner), asyncio.sleep(0.1)))[0]

    return asyncio.run(main())


def _run_in_executor(inner: Future[int]) -> int:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, inner.result)

    return asyncio.run(main())


def _event(inner: Future[int]) -> int:
    event = threading.Event()
    inner.add_done_callback(lambda _: event.set())
    event.wait()
    return inner.result()


def _queue(inner: Future[int], make: Callable[[], Any] = queue.Queue) -> int:
    done = make()
    inner.add_done_callback(done.put)
    return int(done.get().result())


def _simple_queue(inner: Future[int]) -> int:
    return _queue(inner, queue.SimpleQueue)


def _lock(inner: Future[int]) -> int:
    lock = threading.Lock()
    with lock:
        inner.add_done_callback(lambda _: lock.release())
        lock.acquire()
        return inner.result()


def _join(inner: Future[int]) -> int:
    thread = threading.Thread(target=inner.exception)
    thread.start()
    thread.join()
    return inner.result()


def _pool(inner: Future[int]) -> int:
    with multiprocessing.pool.ThreadPool(2) as pool:
        return pool.map(lambda one: one.result(), [inner])[0]


def _pool_that_submits(gate: str, address: str, secret: str) -> int:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return pool.submit(wait_by, "event", gate, address, secret).result()


def _another_client(inner: Future[int], address: str, secret: str) -> int:
    with Client(address, Token(secret)) as client:
        event = threading.Event()
        for one in (inner, client.submit(INNER, address, secret, 0)):
            one.add_done_callback(lambda _: event.set())
        event.wait()
        return 1 + inner.result()


WAITS: dict[str, Callable[[Future[int]], int]] = {
    "wrap_future": _wrap_future,
    "gather": _gather,
    "run_in_executor": _run_in_executor,
    "event": _event,
    "queue": _queue,
    "simple queue": _simple_queue,
    "lock": _lock,
    "join": _join,
    "pool": _pool,
}


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def _compute_in_a_thread(seconds: float) -> None:
    thread = threading.Thread(target=_compute, args=(seconds,))
    thread.start()
    thread.join()


async def _await_a_process(seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(*SLEEPER, str(seconds))
    await process.wait()


def _read_a_socket(seconds: float) -> None:
    here, there = socket.socketpair()
    with here, there:
        timer = threading.Timer(seconds, there.send, [b"x"])
        timer.start()
        here.recv(1)
        timer.join()


GO_ON: dict[str, Callable[[float], object]] = {
    "computing": _compute,
    "a thread that computes": _compute_in_a_thread,
    "sleep": time.sleep,
    "a process": lambda seconds: subprocess.run([*SLEEPER, str(seconds)], check=True),
    "a socket": _read_a_socket,
    "asyncio.sleep": lambda seconds: asyncio.run(asyncio.sleep(seconds)),
    "a process in asyncio": lambda seconds: asyncio.run(_await_a_process(seconds)),
    "a short wait": lambda seconds: threading.Event().wait(seconds),
}
