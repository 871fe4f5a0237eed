"""``Backend``: what a cluster's processes run in, behind the one interface ``Cluster``.

There are three: local processes (``labkit.cluster.local.backend``), containers seen from the host
(``labkit.cluster.compose.backend``) and containers seen from the lab's own container
(``labkit.cluster.compose.inside``). A backend lists, signals and logs processes; everything that is the same
for all of them is in ``Cluster``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict

from labkit.cluster.processes import STARTED, ProcessRow, UnrecordedFault
from labkit.core.errors import N_, InvalidInput
from labkit.core.names import without_controls
from labkit.support.redis_url import without_password

if TYPE_CHECKING:
    from labkit.security.credentials import Credentials


@dataclass(frozen=True)
class Endpoints:
    """Where a cluster is reached, and how a client authenticates."""

    name: str
    address: str
    """Where clients reach the broker: tcp://127.0.0.1:5555."""
    event_address: str
    """Where the broker publishes its history."""
    redis_url: str | None = field(repr=False)
    """Where the mirror is, with its password; None: the mirror is off."""
    credentials: Credentials
    """How a client of this cluster authenticates."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """By name: client, event, redis, and what else the backend publishes."""
    policy: str = ""
    """The placement policy: least_busy, round_robin ...; empty if it is not known."""
    api_is_open: bool = False
    """Whether other machines reach the HTTP side, with the token."""


class BackendStatus(TypedDict):
    """The processes as their backend sees them."""

    processes: Sequence[ProcessRow]
    unrecorded_faults: Sequence[UnrecordedFault]
    pid: NotRequired[int]
    """The supervisor's; see ``SupervisorStatus``."""
    detached: NotRequired[bool]


class Backend(Protocol):
    """The processes of one cluster. ``Cluster`` may call it from any thread."""

    @property
    def kind(self) -> str:
        """local or compose."""

    @property
    def endpoints(self) -> Endpoints:
        """Where the cluster is reached."""

    @property
    def folder(self) -> Path:
        """The run folder: events.jsonl, logs/."""

    @property
    def is_private(self) -> bool:
        """Whether ``Cluster.close`` ends the cluster, because this handle alone has it."""

    @property
    def shares_clock(self) -> bool:
        """Whether ``time.monotonic()`` here is the broker's clock."""

    @property
    def knows_worker_pids(self) -> bool:
        """Whether the pid in a worker's row is the one that the worker reports to the broker."""

    def status(self) -> BackendStatus:
        """Return each process and what else the backend knows."""

    def check(self, fault: str, name: str) -> str:
        """Return the state of the broker's process, if the command applies to ``name`` now.

        Raises InvalidInput for an unknown name, ClusterError if the command does not apply.
        """

    def find_broker(self) -> str:
        """Return the broker's present address, which ``endpoints`` has too from then on."""

    def act(self, fault: str, name: str, recorded: bool) -> None:
        """Carry the command out. ``recorded``: whether the history contains it."""

    def scale(self, n: int) -> list[str]:
        """See ``Cluster.scale``."""

    def logs(self, worker: str | None, lines: int) -> str:
        """See ``Cluster.logs``."""

    def last_line(self, name: str) -> str:
        """Return the last line that a process printed, or the command that shows it."""

    def events_file(self) -> Path:
        """Return the file with the history, which grows while the cluster runs."""

    def keep_history(self) -> Path | None:
        """See ``Cluster.keep_history``."""

    def lab_url(self) -> str | None:
        """See ``Cluster.lab_url``."""

    def api_token(self) -> str:
        """See ``Cluster.api_token``."""

    def down(self) -> None:
        """See ``Cluster.down``."""

    def close(self) -> None:
        """Release what this handle holds. The cluster itself lives on."""


def no_log_of_redis(url: str | None) -> InvalidInput:
    """Return why a cluster whose Redis is at ``url`` has no log of it, and what shows more."""
    if url is None:
        return InvalidInput(
            N_("this cluster runs without Redis, so there is no log of it; python -m labkit doctor shows why")
        )
    return InvalidInput(
        N_(
            "this cluster uses the Redis at {url} (REDIS_URL), which it has not started: its log is where "
            "that server runs; python -m labkit redis PING tells whether it answers, and python -m labkit "
            "logs broker what the mirror says of it"
        ),
        url=without_password(url),
    )


def no_redis_to(fault: str, url: str | None) -> InvalidInput:
    """Return why a cluster whose Redis is at ``url`` cannot kill, pause ... it, and what can be done."""
    if url is None:
        return InvalidInput(
            N_(
                "this cluster runs without Redis, so there is none to {fault}; python -m labkit doctor shows "
                "why"
            ),
            fault=fault,
        )
    return InvalidInput(
        N_(
            "this cluster uses the Redis at {url} (REDIS_URL), which it has not started, so it cannot "
            "{fault} it: do that where that server runs. A cluster that is started without REDIS_URL has a "
            "Redis of its own"
        ),
        url=without_password(url),
        fault=fault,
    )


def last_printed(log: str, name: str) -> str:
    """Return the last line in a log that the process itself printed."""
    announced = STARTED.format(name=name)  # it may just have been started once more
    printed = [line for line in log.splitlines() if line.strip() and not line.startswith(announced)]
    return without_controls(printed[-1].strip(), lines=False) if printed else "it printed nothing"
