"""A web server that is slow on purpose: serves the lab's photographs after a delay, on this machine only.

::

    with open_slow_server(latency_s=0.2) as server:
        data = fetch(server.url("chelsea"))

Rules:

* It waits before it answers, like a distant server, and computes nothing, so a client's time is pure waiting.
  ``latency_s`` may be changed while it runs, ``slow_down`` makes one photograph slower, and ``reset`` sets
  the delay of all of them.
* It serves ``at_once`` requests at a time, since every server has a limit; further ones queue.
* It listens on 127.0.0.1, on a port that the system chooses, and knows the names of its photographs and
  nothing else: no name leads to a file.
* It runs in threads of this process. ``close`` (or leaving ``with``) ends the waits, answers open requests,
  and joins the threads. There is no time limit for sending a request: on a busy machine that can take long,
  and a limit would look like a broken server.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from labkit.core.errors import N_, LabkitError
from labkit.imaging import photos
from labkit.imaging.photos import Photo

HOST = "127.0.0.1"


class DownloadFailed(LabkitError):
    """A photograph could not be fetched."""


def fetch(url: str, timeout_s: float = 30.0) -> bytes:
    """Return the data at ``url``. Raises DownloadFailed with the url, after ``timeout_s`` at the latest.

    Proxy settings of the environment are ignored: the server is on this machine.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=timeout_s) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(url, error.code) from error
    except OSError as error:
        raise _no_answer(url, getattr(error, "reason", None) or error) from error


class Download:
    """One read of ``url`` that another thread may end: ``read`` once, ``cancel`` at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._socket: socket.socket | None = None
        """The connection's: it hands its socket over to the answer."""

    def read(self) -> bytes:
        """Return the data. Raises DownloadFailed if there is none, or after ``cancel``."""
        try:
            with self._lock:
                if self._is_cancelled:
                    raise self._cancelled()
                self._connection.connect()
                self._socket = self._connection.sock
            self._connection.request("GET", urlsplit(self.url).path)
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if self._is_cancelled:
                raise self._cancelled() from error
            raise _no_answer(self.url, error) from error
        finally:
            self._connection.close()
        if answer.status != HTTPStatus.OK:
            raise _refused(self.url, answer.status)
        return data

    def cancel(self) -> None:
        """End ``read`` in the thread where it runs, or keep it from beginning. Does nothing after its end."""
        with self._lock:
            self._is_cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it has just ended
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _cancelled(self) -> DownloadFailed:
        return DownloadFailed(N_("{url}: the read was cancelled"), url=self.url)


def _refused(url: str, status: int) -> DownloadFailed:
    return DownloadFailed(
        N_("{url}: the server answers {status}; server.names lists what it has"), url=url, status=status
    )


def _no_answer(url: str, reason: object) -> DownloadFailed:
    return DownloadFailed(N_("{url}: no answer ({reason}); is the slow server open?"), url=url, reason=reason)


def open_slow_server(
    latency_s: float = 0.2, at_once: int = 8, pictures: Sequence[Photo] | None = None
) -> SlowServer:
    """Return a running server of ``pictures`` (default: the bundled ones). Use ``with``, or ``close`` it."""
    return SlowServer(latency_s, at_once, photos.bundled() if pictures is None else pictures)


class SlowServer:
    """See the module's head. Made by `open_slow_server`."""

    def __init__(self, latency_s: float, at_once: int, pictures: Sequence[Photo]) -> None:
        self.latency_s = latency_s
        self.at_once = at_once
        self.most_at_once = 0
        """How many requests were being served at the same time, at most."""
        self._bytes = {photo.name: photo.bytes() for photo in pictures}
        self._slower: dict[str, float] = {}
        self._room = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self._serving = 0
        self._closing = threading.Event()
        self._http = _Http(self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="slow-server", daemon=True
        )
        self._thread.start()

    @property
    def names(self) -> list[str]:
        """The names of its photographs."""
        return list(self._bytes)

    @property
    def urls(self) -> list[str]:
        """The URL of each photograph, in the order of ``names``."""
        return [self.url(name) for name in self._bytes]

    def url(self, name: str) -> str:
        """Return the URL of the photograph called ``name``."""
        return f"http://{HOST}:{self._http.server_port}/{quote(name, safe='')}"

    def slow_down(self, name: str, by_s: float) -> None:
        """Make the photograph called ``name`` take ``by_s`` seconds longer than the others."""
        if name not in self._bytes:
            raise DownloadFailed(
                N_("there is no photograph called {name}; there are {known}"),
                name=name,
                known=", ".join(self._bytes),
            )
        self._slower[name] = by_s

    def reset(self, latency_s: float) -> None:
        """Make every photograph take ``latency_s`` seconds, and reset the counters."""
        self.latency_s = latency_s
        self._slower.clear()
        with self._lock:
            self.most_at_once = self._serving

    def answer(self, path: str) -> bytes | None:
        """Return the photograph for a request's path after its delay; None for an unknown one."""
        name = unquote(path.removeprefix("/"))
        with self._room:
            with self._lock:
                self._serving += 1
                self.most_at_once = max(self.most_at_once, self._serving)
            try:
                self.delay(name)
                return self._bytes.get(name)
            finally:
                with self._lock:
                    self._serving -= 1

    def delay(self, name: str) -> None:
        """Wait before the photograph called ``name`` is answered. A subclass may wait for something else."""
        self._closing.wait(self.latency_s + self._slower.get(name, 0.0))

    def close(self) -> None:
        """Stop the server: waits end at once, threads are joined, the port is free. May be called twice."""
        self._closing.set()
        self._http.shutdown()
        self._http.hear_no_more()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 128  # connections that wait for accept; Python's 5 would cost a second each beyond

    def __init__(self, slow: SlowServer) -> None:
        self.slow = slow
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__((HOST, 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread of its own, and keep track of it until it ends."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hear_no_more(self) -> None:
        """End the connections that have sent no request yet, so that no thread waits for them."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client has closed it already
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that have disconnected; the base class shows any other error."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer one request."""
        assert isinstance(self.server, _Http)
        data = self.server.slow.answer(self.path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: stderr of a notebook is for errors."""
