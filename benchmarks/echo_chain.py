"""The limit: three processes that only pass bytes on, with plain pyzmq.

::

    this process          a process             a process
    DEALER ──tcp──► ROUTER │ ROUTER ──tcp──► DEALER
           ◄──────         │        ◄──────   (echo)

No queue, no credit, no history, no recovery, no secret: what a message costs without any decision about it.
A Python broker that decides something cannot have a shorter round trip. It can move more tasks a second than
this chain, because it puts several small ones into one message.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

import zmq

from benchmarks.figures import BenchFailed
from labkit.core.errors import N_
from labkit.support.signals import sigint_blocked

HOST = "tcp://127.0.0.1"
START_S = 15.0
IDLE_MS = 500
"""How often an idle process checks that its parent still lives."""
OUTSTANDING = 500
"""Messages under way at once in ``flood``; below ZeroMQ's own limit, so that no ROUTER drops one."""


class EchoChain:
    """The chain, seen from its client's end; use it with ``with``."""

    def __enter__(self) -> Self:
        self._processes: list[BaseProcess] = []
        self._context: zmq.Context[Any] = zmq.Context()
        try:
            self._socket = self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> zmq.Socket[bytes]:
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        self._start(spawn.Process(target=_broker, args=(there,), daemon=True))
        if not here.poll(START_S):
            raise self._no_answer()
        client_port, worker_port = here.recv()
        self._start(spawn.Process(target=_worker, args=(worker_port,), daemon=True))
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.rcvtimeo = int(START_S * 1000)
        socket.connect(f"{HOST}:{client_port}")
        return socket

    def _start(self, process: BaseProcess) -> None:
        with sigint_blocked():
            process.start()
        self._processes.append(process)

    def _no_answer(self) -> BenchFailed:
        return BenchFailed(N_("the echo chain did not answer within {seconds:g} s"), seconds=START_S)

    def __exit__(self, *_exception: object) -> None:
        self._context.destroy(linger=0)
        for process in self._processes:
            process.terminate()
            process.join()

    def round_trip(self, body: bytes) -> float:
        """Send ``body`` there and back; return the seconds it took."""
        began = time.perf_counter()
        self._socket.send(body)
        self._receive()
        return time.perf_counter() - began

    def flood(self, body: bytes, count: int) -> None:
        """Send ``body`` there and back ``count`` times, many at once."""
        first = min(count, OUTSTANDING)
        for _ in range(first):
            self._socket.send(body)
        for _ in range(count - first):
            self._receive()
            self._socket.send(body)
        for _ in range(first):
            self._receive()

    def _receive(self) -> None:
        try:
            self._socket.recv()
        except zmq.Again:
            raise self._no_answer() from None


def _broker(parent: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context: zmq.Context[Any] = zmq.Context()
    clients, workers = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    parent.send([socket.bind_to_random_port(HOST) for socket in (clients, workers)])
    poller = zmq.Poller()
    poller.register(workers, zmq.POLLIN)
    while not poller.poll(IDLE_MS):
        if not _has_parent():
            return
    worker, _hello = workers.recv_multipart()  # serve clients only once there is a worker
    poller.register(clients, zmq.POLLIN)
    while _has_parent():
        ready = dict(poller.poll(IDLE_MS))
        while ready:
            if workers in ready:
                _hand_on(workers, clients, None)
            if clients in ready:
                _hand_on(clients, workers, worker)
            ready = dict(poller.poll(IDLE_MS))


def _hand_on(source: zmq.Socket[bytes], target: zmq.Socket[bytes], to: bytes | None) -> None:
    """Pass on all that waits; put ``to`` in front, or take the sender's name off if it is None."""
    try:
        while True:
            first = source.recv(zmq.NOBLOCK)
            if to is not None:
                target.send(to, zmq.SNDMORE)
            else:
                first = source.recv()
            target.send(first, zmq.SNDMORE)
            target.send(source.recv())
    except zmq.Again:
        return  # that was all


def _worker(port: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"{HOST}:{port}")
    socket.send(b"hello")
    while _has_parent():
        while socket.poll(IDLE_MS):
            client = socket.recv()
            body = socket.recv()
            socket.send(client, zmq.SNDMORE)
            socket.send(body)


def _has_parent() -> bool:
    """Whether the process that started this one still lives."""
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()
