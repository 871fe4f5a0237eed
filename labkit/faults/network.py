"""A network of the lab's own, between a process and its broker: it can be cut, reset, and be slow.

Whoever is to be cut off connects to ``address`` instead of the broker's port. Real TCP on both sides, so
everything in between is as it is in life:

* ``cut`` is a partition: from then on no byte arrives, either way, and nobody is told. New connections are
  taken and stay silent. ``heal``, and what had been held back arrives, in order: TCP loses nothing.
* ``reset`` breaks every connection at once (RST), as a router does that has forgotten them.
* ``bytes_per_s`` makes the link slow, each way and each connection by itself.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Self

HOST = "127.0.0.1"
PART_BYTES = 1 << 16


class Connection:
    """One connection through the network: the end that came to us, and our own to the broker."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self._broken = False

    def end(self, sink: socket.socket) -> None:
        """Pass on that one side has said its last; nothing of the sort after a break."""
        if not self._broken:
            sink.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break it, so that both sides see it broken and not ended (LINGER 0 sends RST)."""
        self._broken = True
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):  # closed already
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A thread may be reading from it, and closing alone would leave that one waiting.
                end.shutdown(socket.SHUT_RD)
            end.close()


class Network:
    """Passes connections on to ``port`` of this machine. Use it with ``with``."""

    def __init__(self, port: int, bytes_per_s: float | None = None) -> None:
        self._target = port
        self._bytes_per_s = bytes_per_s
        self._whole = threading.Event()
        self._whole.set()
        self._lock = threading.Lock()
        self._open = True
        self._connections: list[Connection] = []
        self._listening = socket.create_server((HOST, 0))
        self.address = f"tcp://{HOST}:{self._listening.getsockname()[1]}"
        """Where to connect in place of the broker."""
        threading.Thread(target=self._accept, name="labkit-network", daemon=True).start()

    def cut(self) -> None:
        """From now on nothing arrives; nobody is told."""
        self._whole.clear()

    def heal(self) -> None:
        """What had been held back arrives."""
        self._whole.set()

    def reset(self) -> int:
        """Break every connection, and return how many there were; new ones are passed on as before."""
        with self._lock:
            broken, self._connections = self._connections, []
        for connection in broken:
            connection.reset()
        return len(broken)

    def close(self) -> None:
        """Take the network down."""
        with self._lock:
            self._open = False
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; close alone does not
        self._listening.close()
        self.reset()
        self.heal()  # wakes the threads that hold something back

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _peer = self._listening.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection((HOST, self._target))
            except OSError:
                near.close()  # there is no broker just now: neither is there one behind us
                continue
            with self._lock:
                if not self._open:
                    near.close()
                    far.close()
                    return
                connection = Connection(near, far)
                self._connections.append(connection)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(connection, source, sink), daemon=True).start()

    def _pass_on(self, connection: Connection, source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(PART_BYTES):
                self._whole.wait()
                if self._bytes_per_s is not None:
                    time.sleep(len(part) / self._bytes_per_s)  # this *is* the slowness of the link
                sink.sendall(part)
            self._whole.wait()
            connection.end(sink)
        except OSError:
            # One side was reset or has closed: the other is to know, but not before it could.
            self._whole.wait()
            connection.reset()
