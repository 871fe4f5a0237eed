"""Waits until a cluster is ready, or explains why it is not.

A cluster is ready when the broker reports every worker that should be up, each by its present process. A
process that keeps ending, or a broker that a command took down, ends the wait early: the error names it and
the command that helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from labkit.cluster.api_side import answers
from labkit.cluster.backend import Backend
from labkit.cluster.processes import API, RESTARTING, RUNNING, ProcessRow
from labkit.cluster.status import BrokerStatus, recovery_command
from labkit.core.errors import N_, BrokerUnreachable, ClusterError
from labkit.core.protocol.exit_codes import PORT_IN_USE

DEFAULT = "default"
"""The name of the cluster that a command without ``--name`` means (LABKIT_CLUSTER changes it)."""
LOOK_EVERY_S = 0.01
LOOK_FOR_API_EVERY_S = 0.05
API_PORT_TAKEN = f"exit {PORT_IN_USE}"
MANY_SHORT_LIVES = 3
"""A process that ended this often within seconds of its start is not going to be ready."""
BROKER_DOWN_S = 3.0
"""The wait gives up on a broker that a command froze or stopped at least this long ago."""
UP = (RUNNING, RESTARTING)


def wait_until_ready(
    backend: Backend, broker_status: Callable[[float], BrokerStatus | None], timeout_s: float
) -> None:
    """Return when the cluster is ready. ``broker_status(deadline)``: the broker's own, None if it is not up.

    Raises ClusterError when that takes longer than ``timeout_s``, or earlier if a process keeps ending;
    BrokerUnreachable if a command stopped or froze the broker and no command brings it back.
    """
    deadline = time.monotonic() + timeout_s
    may_be_down_until: float | None = None
    while True:
        rows = backend.status()["processes"]
        wanted = [row for row in rows if row["kind"] == "worker" and row["state"] in UP]
        snapshot = broker_status(deadline) if _runs(rows, "broker") else None
        if snapshot is not None and all(_is_ready(backend, row, snapshot) for row in wanted):
            return
        for row in rows:
            if _keeps_ending(backend, row, snapshot):
                raise keeps_ending_error(backend, row)
        now = time.monotonic()
        if (is_down := down_by_command(backend, rows)) is None:
            may_be_down_until = None
        elif may_be_down_until is None:
            may_be_down_until = now + BROKER_DOWN_S
        elif now > may_be_down_until:
            raise is_down
        if now > deadline:
            raise is_down or _not_in_time(backend, wanted, snapshot, timeout_s)
        time.sleep(LOOK_EVERY_S)


def wait_for_api(backend: Backend, port: int, timeout_s: float) -> None:
    """Return when the HTTP side answers. Raises ClusterError if it does not, with the next step."""
    deadline = time.monotonic() + timeout_s
    while True:
        row = next((row for row in backend.status()["processes"] if row["kind"] == API), None)
        if row is None or row["state"] not in UP:
            raise ClusterError(
                N_("the HTTP side is down; python -m labkit start api{option}"), option=_option(backend)
            )
        if row["short_lives"] >= MANY_SHORT_LIVES or row["last_exit"] == API_PORT_TAKEN:
            raise keeps_ending_error(backend, row)
        if row["state"] == RUNNING and answers(port):
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                N_(
                    "the HTTP side did not answer within {seconds:g} s; python -m labkit logs api{option} "
                    "shows why"
                ),
                seconds=timeout_s,
                option=_option(backend),
            )
        time.sleep(LOOK_FOR_API_EVERY_S)


def down_by_command(backend: Backend, rows: Sequence[ProcessRow]) -> BrokerUnreachable | None:
    """Return an error with the command that brings back a broker that a command stopped; or None."""
    command = recovery_command(rows, "broker")
    if command and backend.is_private:  # no command line reaches a private cluster
        return BrokerUnreachable(
            N_("the broker is down or frozen; cluster.{command}('broker') brings it back, or the panel"),
            command=command,
        )
    if command == "resume":
        return BrokerUnreachable(
            N_("the broker is frozen; python -m labkit resume broker{option}"), option=_option(backend)
        )
    if command == "start":
        return BrokerUnreachable(
            N_("the broker is down; python -m labkit start broker{option}"), option=_option(backend)
        )
    if command == "up":
        return BrokerUnreachable(
            N_("the broker's container is missing or never ran; python -m labkit up{option} makes it anew"),
            option=_option(backend),
        )
    return None


def keeps_ending_error(backend: Backend, row: ProcessRow) -> ClusterError:
    """Return the error about a process that ends again and again, with the last line that it printed."""
    return ClusterError(
        N_("{name} keeps ending ({last_exit}): {line}"),
        name=row["name"],
        last_exit=row["last_exit"],
        line=backend.last_line(row["name"]),
    )


def _not_in_time(
    backend: Backend, wanted: list[ProcessRow], snapshot: BrokerStatus | None, timeout_s: float
) -> ClusterError:
    if snapshot is None:
        return ClusterError(
            N_(
                "the broker did not answer within {seconds:g} s; "
                "python -m labkit logs broker{option} shows why"
            ),
            seconds=timeout_s,
            option=_option(backend),
        )
    return ClusterError(
        N_(
            "after {seconds:g} s not all workers were ready ({ready} of {wanted}); "
            "python -m labkit logs{option} shows why"
        ),
        option=_option(backend),
        ready=sum(_is_ready(backend, row, snapshot) for row in wanted),
        wanted=len(wanted),
        seconds=timeout_s,
    )


def _is_ready(backend: Backend, row: ProcessRow, snapshot: BrokerStatus) -> bool:
    """Return whether the broker knows this very process, and not its predecessor of the same name."""
    return any(
        known["id"] == row["name"]
        and known["status"] in ("ready", "busy")
        and (known["pid"] == row["pid"] or not backend.knows_worker_pids)
        for known in snapshot["workers"]
    )


def _keeps_ending(backend: Backend, row: ProcessRow, snapshot: BrokerStatus | None) -> bool:
    """Return whether this process ends again and again now; what it did before it was well does not count."""
    if row["state"] not in UP or row["short_lives"] < MANY_SHORT_LIVES:
        return False
    if row["kind"] == API:
        return False  # the cluster works without
    if row["kind"] == "broker":
        return snapshot is None
    return row["kind"] != "worker" or snapshot is None or not _is_ready(backend, row, snapshot)


def _runs(rows: Sequence[ProcessRow], kind: str) -> bool:
    return any(row["kind"] == kind and row["state"] == RUNNING for row in rows)


def _option(backend: Backend) -> str:
    """Return the options that choose this cluster on the command line; empty if it is meant without them."""
    name = backend.endpoints.name
    option = "" if backend.is_private or name == DEFAULT else f" --name {name}"
    return option + (" --backend compose" if backend.kind == "compose" else "")
