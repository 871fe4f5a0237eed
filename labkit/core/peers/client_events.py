"""The vocabulary between a client's session and its shell: events go in, actions come out.

``labkit.core.peers.client_session`` decides; the shell (``labkit.client``) reports the events and carries out
the actions. ``ClientTables`` is what checkers may look at.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import NamedTuple

from labkit.core.peers.session import Connect, Send
from labkit.core.protocol import messages as m


class Call(NamedTuple):
    """One task as its client made it. ``deadline`` is absolute, on the client's own clock."""

    task: bytes
    deadline: float
    lease_s: float
    job: str
    needs: str
    payload: m.Payload
    size: int


# --- events -------------------------------------------------------------------------------------------------


class SubmitAsked(NamedTuple):
    """The user wants this task done."""

    call: Call


class CancelAsked(NamedTuple):
    """The user wants it cancelled; answered by ``CancelAnswer``."""

    task: bytes


class Ask(NamedTuple):
    """Send a ``Note`` or ``Query`` as soon as there is a broker."""

    message: m.Note | m.Query


class ForgetAsked(NamedTuple):
    """The user no longer waits for the answer to question ``number``: it is not sent again."""

    number: int


class WaitsNow(NamedTuple):
    """A task that runs here waits for tasks of this client; none: it no longer waits."""

    task: bytes
    attempt: int
    awaited: tuple[bytes, ...]


class CloseAsked(NamedTuple):
    """The user closed the client: say goodbye."""


# --- actions ------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """The task's one visible outcome: a ``Result`` or a ``Failed`` message."""

    call: Call
    message: m.Result | m.Failed


class NowRunning(NamedTuple):
    """The task has started on a worker."""

    task: bytes
    worker: str


class CancelAnswer(NamedTuple):
    """``done``: the task will not have any other outcome."""

    task: bytes
    done: bool


class Answer(NamedTuple):
    """A ``Noted`` or ``Info`` arrived."""

    message: m.Noted | m.Info


class Welcomed(NamedTuple):
    """The broker answered the hello; ``new_broker``: it is another one, which knew no task of this client."""

    new_broker: bool


class ClientTables(NamedTuple):
    """Read-only view of where each open task of a client is, for checkers."""

    waiting: Collection[bytes]
    """Not with the broker."""
    sent: Collection[bytes]
    """Sent to the broker and not acknowledged."""
    accepted: Set[bytes]
    """Acknowledged by the broker."""


Event = SubmitAsked | CancelAsked | Ask | ForgetAsked | WaitsNow | CloseAsked
Action = Send | Connect | Outcome | NowRunning | CancelAnswer | Answer | Welcomed
