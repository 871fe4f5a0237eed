"""A DEALER in the notebook that speaks the lab's protocol by hand, as a client or a worker.

::

    transcript = Transcript(cluster)
    with transcript.worker("by-hand") as me:
        me.send(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
        me.receive(m.WorkerWelcome)
        task = me.receive(m.Task)
        me.send(m.Done(task.task, task.attempt, 0.0, me.compute(task)))
    transcript

A raw peer sends and receives the messages of ``labkit.core.protocol.messages``, as real clients and workers
do. The broker on the other side is a real one and cannot tell the difference. Nothing is filtered: the
transcript holds every envelope that crossed the socket, in order, with its frames and bytes.

A raw peer sends no heartbeat by itself. If it stays silent, the broker gives it up, as PROTOCOL.md describes.
"""

from __future__ import annotations

import os
import time
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import zmq

from labkit.calls import serialization
from labkit.calls.registry import name_of, resolve, version_of
from labkit.charts import Table
from labkit.classroom.stall_watch import LOOK_S, StallWatch
from labkit.core.errors import N_, LabkitError
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.support.i18n import _
from labkit.support.text import Spoken
from labkit.transport import sockets
from labkit.transport.sockets import CLIENT_ROLE, WORKER_ROLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.cluster import Cluster

PATIENCE_S = 10.0
SHOWN_BYTES = 12
SHOWN_TEXT = 60


class NotReceived(LabkitError):
    """The message that a raw peer waits for did not arrive."""


class Line(NamedTuple):
    """One envelope that crossed a socket."""

    at_s: float
    peer: str
    outgoing: bool
    messages: tuple[Any, ...]
    envelope: bytes
    frames: tuple[int, ...]
    """Size in bytes of each payload frame after the envelope."""


class Transcript:
    """Everything that raw peers sent and received; a notebook shows it as a table."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._began = time.monotonic()
        self.lines: list[Line] = []

    def client(self, name: str = "client") -> RawPeer:
        """Return a DEALER connected to the broker's ROUTER for clients."""
        return RawPeer(self, name, CLIENT_ROLE, self._cluster.address, self._cluster, m.TO_CLIENT)

    def worker(self, name: str = "by-hand") -> RawPeer:
        """Return a DEALER connected to the broker's ROUTER for workers."""
        host = self._cluster.address.rpartition(":")[0]
        address = f"{host}:{self._cluster.ports['worker']}"
        return RawPeer(self, name, WORKER_ROLE, address, self._cluster, m.TO_WORKER)

    def note(
        self, peer: str, outgoing: bool, messages: list[Any], envelope: bytes, frames: tuple[int, ...]
    ) -> None:
        """Record one envelope."""
        at_s = time.monotonic() - self._began
        self.lines.append(Line(at_s, peer, outgoing, tuple(messages), envelope, frames))

    @property
    def size(self) -> int:
        """Bytes of all frames that crossed the socket, without what ZeroMQ and the network add."""
        return sum(len(line.envelope) + sum(line.frames) for line in self.lines)

    # --- the transcript -------------------------------------------------------------------------------------

    def table(self) -> Table:
        """Return the transcript as a table: time (s), sender, receiver, message, its fields, its frames."""
        columns = (_("at (s)"), _("from"), _("to"), _("message"), _("fields"), _("frames"))
        rows: list[tuple[object, ...]] = []
        for line in self.lines:
            sender, receiver = (line.peer, "broker") if line.outgoing else ("broker", line.peer)
            for number, message in enumerate(line.messages):
                first = number == 0
                rows.append(
                    (
                        line.at_s if first else None,
                        sender if first else "",
                        receiver if first else "",
                        type(message).__name__,
                        fields_of(message),
                        _frames(line) if first else "",
                    )
                )
        return Table(columns, rows)

    def anatomy(self, kind: type) -> Table:
        """Return the bytes of the last envelope with a message of this kind, part by part."""
        for line in reversed(self.lines):
            if any(type(message) is kind for message in line.messages):
                return _anatomy(line)
        raise NotReceived(N_("no {kind} was sent or received"), kind=kind.__name__)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for line in self.lines:
            arrow = "DEALER → ROUTER" if line.outgoing else "ROUTER → DEALER"
            who = f"{escape(line.peer)}<br><small>{arrow}</small>"
            what = "<br>".join(
                f"<b>{type(message).__name__}</b> <small>{escape(fields_of(message))}</small>"
                for message in line.messages
            )
            colour = "rgba(0, 114, 178, .10)" if line.outgoing else "rgba(230, 159, 0, .12)"
            rows.append(
                f'<tr style="background: {colour}"><td>{Spoken(line.at_s):.3f}</td>'
                f'<td style="text-align: {"left" if line.outgoing else "right"}">{who}</td>'
                f'<td style="text-align: left">{what}</td>'
                f'<td style="text-align: left"><code>{escape(_frames(line))}</code></td></tr>'
            )
        heads = (_("at (s)"), _("direction"), _("messages in the envelope"), _("frames"))
        head = "".join(f"<th>{escape(text)}</th>" for text in heads)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


class RawPeer:
    """One DEALER, recorded in a transcript. It belongs to the notebook's thread; use it with ``with``."""

    def __init__(
        self,
        transcript: Transcript,
        name: str,
        role: str,
        address: str,
        cluster: Cluster,
        accepts: frozenset[type],
    ) -> None:
        self.name = name
        self.id = os.urandom(16)
        """A client's identity."""
        self.instance = os.urandom(8)
        """A worker's process."""
        self.epoch = os.urandom(8)
        """A worker's hello."""
        self._transcript = transcript
        self._cluster = cluster
        self._accepts = accepts
        self._waiting: list[Any] = []
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = sockets.dealer(self._context, role, cluster.credentials, Rules().max_message_bytes)
        self._socket.connect(address)

    def send(self, *messages: Any) -> None:
        """Send messages of ``labkit.core.protocol.messages``; small ones share an envelope."""
        for envelope, frames in wire.envelopes(messages):
            sizes = tuple(m.frame_size(frame) for frame in frames)
            sent = wire.decode(envelope, frames)
            sockets.send(self._socket, envelope, frames)
            self._transcript.note(self.name, True, sent, envelope, sizes)

    def receive(self, kind: type, timeout_s: float = PATIENCE_S) -> Any:
        """Return the next message of this kind; earlier ones go to the transcript only.

        Raises NotReceived if it does not arrive in time, and LessonStalled if the broker is down or frozen.
        """
        deadline = time.monotonic() + timeout_s
        watch = StallWatch(self._cluster)
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                if type(message) is kind:
                    return message
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise NotReceived(
                    N_("{peer} waited {seconds:g} s for a {kind} of the broker, in vain"),
                    peer=self.name,
                    seconds=timeout_s,
                    kind=kind.__name__,
                )
            if self._socket.poll(int(min(left_s, LOOK_S) * 1000) + 1):
                self._read()
            else:
                watch.raise_if_stalled()

    def rest(self, seconds: float) -> None:
        """Wait for ``seconds`` and send heartbeats meanwhile, as a computing worker does."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            self.send(m.Heartbeat())
            time.sleep(min(left_s, Rules().heartbeat_s))

    def submission(self, function: Callable[..., Any], *args: Any) -> m.Submit:
        """Return the Submit message for one call."""
        name = name_of(function)
        payload = serialization.encode_call(name, args, {}, version=version_of(name))
        return m.Submit(os.urandom(16), 60.0, 0.0, name, "", payload)

    def compute(self, task: m.Task) -> m.Payload:
        """Compute a task in this thread and return its result as a payload."""
        name, args, kwargs, version = serialization.decode_versioned_call(task.payload)
        return serialization.encode_value(resolve(name, version=version)(*args, **kwargs))

    def value(self, result: m.Result) -> Any:
        """Return the value in a Result message."""
        return serialization.decode_value(result.payload)

    def _read(self) -> None:
        envelope, frames = sockets.receive(self._socket)
        messages = wire.decode(envelope, frames, self._accepts)
        self._transcript.note(self.name, False, messages, envelope, tuple(map(m.frame_size, frames)))
        self._waiting += messages

    def close(self) -> None:
        """Close the socket after the sent messages have left."""
        self._socket.close(linger=500)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- words --------------------------------------------------------------------------------------------------


def fields_of(message: Any) -> str:
    """Return the fields of a message as text, with shortened ids and decoded payloads."""
    parts = []
    for name, value in zip(message._fields, message, strict=True):
        if isinstance(value, m.Payload):
            parts.append(f"{name}={_payload(value)}")
        elif isinstance(value, bytes):
            parts.append(f"{name}={_bytes(value)}")
        elif isinstance(value, float):
            parts.append(f"{name}={value:g}")
        else:
            parts.append(f"{name}={value!r}")
    return ", ".join(parts)


def _bytes(value: bytes) -> str:
    return value.hex() if len(value) <= 4 else f"{value[:3].hex()}…"


def _payload(payload: m.Payload) -> str:
    for read in (serialization.decode_call, serialization.decode_value):
        try:
            said: Any = read(payload)
        except LabkitError:
            continue
        if read is serialization.decode_call:
            name, args, _kwargs = said
            said = f"{name.partition(':')[2]}({', '.join(map(repr, args))})"
        text = str(said)
        return text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…"
    return _("{n} bytes").format(n=payload.size)


def _frames(line: Line) -> str:
    """Return the frames of one message: the envelope's size and first bytes, then the payload's sizes."""
    begin = line.envelope[:SHOWN_BYTES].hex(" ")
    more = " …" if len(line.envelope) > SHOWN_BYTES else ""
    frames = "".join(f" + [{size} B]" for size in line.frames)
    return f"[{len(line.envelope)} B: {begin}{more}]{frames}"


def _anatomy(line: Line) -> Table:
    """Return an envelope taken apart as PROTOCOL.md, section 4, does."""
    rows: list[tuple[object, ...]] = [(0, wire.MAGIC.hex(" "), _("magic (the letter L) and version"))]
    position = len(wire.MAGIC)
    for message in line.messages:
        record, _frames_of = wire.encode(message)
        rows.append((position, record[:1].hex(), _("kind: {kind}").format(kind=type(message).__name__)))
        owned = int.from_bytes(record[1:3], "big")
        rows.append((position + 1, record[1:3].hex(" "), _("payload frames of its own: {n}").format(n=owned)))
        length = int.from_bytes(record[3:7], "big")
        rows.append((position + 3, record[3:7].hex(" "), _("length of the body: {n}").format(n=length)))
        if body := record[7:]:
            shown = body[:24].hex(" ") + (" …" if len(body) > 24 else "")
            rows.append((position + 7, shown, fields_of(message)))
        position += len(record)
    return Table((_("offset"), _("bytes"), _("meaning")), rows)
