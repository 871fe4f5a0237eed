"""Where a load's tasks go: through a client of the cluster, or over HTTP to its gateway.

Each task is the same: one photo of the lab through three filters, JPEG in and JPEG out, about 20 ms of
computing. A target calls back with each outcome, from threads of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, Protocol

from labkit.imaging import image_files, photos
from labkit.imaging.filters import parse_steps
from labkit.jobs import process_encoded

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture

FILTERS = ("blur", "sharpen", "edges")
PARAMETERS = {"blur": {"radius": 8}}
MOST_CONNECTIONS = 500
CONNECT_S = 5.0
ANSWER_S = 65.0
"""A little longer than the gateway itself waits for a worker."""


class Ending(NamedTuple):
    """The outcome of the task ``number``, at an instant of ``time.monotonic``."""

    number: int
    at: float
    compute_s: float | None
    worker: str
    error: str
    """The error's name; empty if the task is done."""


class Target(Protocol):
    """What the generator needs of a target. ``submit`` returns at once."""

    most_open: int

    def submit(self, number: int) -> None:
        """Send the task ``number``."""

    def drop(self) -> None:
        """Cancel what is under way; its outcomes are wanted no longer."""

    def close(self) -> None:
        """Cancel what is under way, and leave."""


def picture() -> bytes:
    """Return the photo that every task has, as JPEG."""
    return image_files.encode(photos.load()[0].array(), "jpeg")


class ThroughClient:
    """Tasks go through a client, which this object closes. ``ended`` receives the outcomes."""

    most_open = 2_000

    def __init__(self, client: Client, data: bytes, ended: Callable[[Ending], object]) -> None:
        self._client = client
        self._data = data
        self._steps = parse_steps(FILTERS, PARAMETERS)
        self._ended = ended

    def submit(self, number: int) -> None:
        """See ``Target``."""
        future = self._client.submit(process_encoded, self._data, self._steps, "jpeg")
        future.add_done_callback(lambda _done: self._take(number, future))

    def _take(self, number: int, future: TaskFuture) -> None:
        at = time.monotonic()
        error = "Cancelled" if future.cancelled() else _name(future.exception())
        self._ended(Ending(number, at, None if error else future.compute_s, future.worker or "", error))

    def drop(self) -> None:
        """See ``Target``."""
        self._client.cancel_all()

    def close(self) -> None:
        """See ``Target``."""
        self._client.close()


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__name__


class ThroughHttp:
    """Tasks go to ``POST /api/process/`` of a gateway, over kept connections, one task each at a time.

    ``host`` and ``port``: where it listens. ``token``: the cluster's. One thread serves all connections.
    """

    most_open = MOST_CONNECTIONS

    def __init__(
        self, host: str, port: int, token: str, data: bytes, ended: Callable[[Ending], object]
    ) -> None:
        self._address = host, port
        self._request = _upload(f"{host}:{port}", token, data)
        self._ended = ended
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._under_way: set[Future[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="labkit-load-http", daemon=True)
        self._thread.start()

    def submit(self, number: int) -> None:
        """See ``Target``."""
        future = asyncio.run_coroutine_threadsafe(self._call(number), self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)

    def drop(self) -> None:
        """See ``Target``."""
        for future in list(self._under_way):
            future.cancel()

    def close(self) -> None:
        """See ``Target``."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _leave(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for _reader, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _call(self, number: int) -> None:
        headers: dict[str, str] = {}
        try:
            async with asyncio.timeout(ANSWER_S):
                status, headers = await self._exchange()
            error = "" if status == 200 else f"HTTP {status}"
        except (OSError, asyncio.IncompleteReadError, ValueError) as failure:  # TimeoutError is an OSError
            error = type(failure).__name__
        compute_s = headers.get("x-compute-seconds")
        self._ended(
            Ending(
                number,
                time.monotonic(),
                None if error or not compute_s else float(compute_s),
                headers.get("x-worker", ""),
                error,
            )
        )

    async def _exchange(self) -> tuple[int, dict[str, str]]:
        """Send one request; return the status and the headers of its answer, whose body is read."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(*self._address)
        kept = False
        try:
            writer.write(self._request)
            await writer.drain()
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _colon, value in (x.partition(":") for x in lines)
            }
            await reader.readexactly(int(headers.get("content-length", "0")))
            kept = headers.get("connection", "").lower() != "close"
            return int(first.split()[1]), headers
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()


def _upload(host: str, token: str, data: bytes) -> bytes:
    """Return the whole request: a form with two fields and a file, as curl -F sends it."""
    edge = "labkit-load"
    fields = {"filters": ",".join(FILTERS), "filter_params": json.dumps(PARAMETERS)}
    part = f'--{edge}\r\nContent-Disposition: form-data; name="{{name}}"'
    texts = [f"{part.format(name=name)}\r\n\r\n{text}\r\n".encode() for name, text in fields.items()]
    file = f'{part.format(name="image")}; filename="load.jpg"\r\n\r\n'.encode()
    body = b"".join([*texts, file, data, f"\r\n--{edge}--\r\n".encode()])
    head = (
        f"POST /api/process/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={edge}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
