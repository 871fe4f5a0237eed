"""A network between a process and its broker that can be cut, reset and slowed down.

The process connects to ``address`` instead of the broker's port. Both sides are real TCP:

* ``cut`` is a partition: no byte arrives in either direction, and neither side receives a notice. New
  connections are accepted and stay silent. After ``heal``, the held bytes arrive in order: TCP loses nothing.
* ``reset`` breaks every connection at once (RST), as a router does that has lost its table.
* ``bytes_per_s`` limits each direction of each connection.
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
    """One connection through the network: the accepted end, and the end that leads to the broker."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self._broken = False

    def end(self, sink: socket.socket) -> None:
        """Pass on that one side has finished sending, unless the connection was reset."""
        if not self._broken:
            sink.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection, so that both sides see a reset and no regular end (LINGER 0 sends RST)."""
        self._broken = True
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):  # closed already
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A thread may be reading from it; close alone would not wake that thread.
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
        """The address to connect to instead of the broker's."""
        threading.Thread(target=self._accept, name="labkit-network", daemon=True).start()

    def cut(self) -> None:
        """Drop everything from now on; neither side is notified."""
        self._whole.clear()

    def heal(self) -> None:
        """Deliver the held bytes, and everything from now on."""
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
                near.close()  # there is no broker now, so this network refuses, too
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
            # One side was reset or closed: pass it on to the other, but not through a cut.
            self._whole.wait()
            connection.reset()
