"""The broker process: ``main`` reads the settings, binds, and serves until it is stopped."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.support.atomic_files import atomic_write

if TYPE_CHECKING:
    from labkit.broker.service import SnapshotObserver
    from labkit.core.broker.policies import Policy
    from labkit.support.settings import Settings


def main(settings: Settings, mirror: SnapshotObserver | None = None) -> int:
    """Run a broker in this process and return its exit code: 0 stopped, 73 a port is taken.

    ``mirror`` shows the broker's state elsewhere; the broker itself does not know Redis.
    """
    from labkit.broker.service import Broker
    from labkit.core.errors import PortInUse
    from labkit.core.protocol import exit_codes
    from labkit.security import credentials
    from labkit.support.log_output import log_to_standard_error, tolerate_a_full_disk

    tolerate_a_full_disk()
    _check_ports_and_host(settings)
    log_to_standard_error()
    known = credentials.of_broker(settings)
    folder = settings.folder
    try:
        broker = Broker(
            host=settings.host,
            client_port=settings.client_port,
            worker_port=settings.worker_port,
            event_port=settings.event_port,
            known=known,
            rules=settings.rules,
            policy=_policy(settings),
            recorder_path=None if folder is None else folder / "events.jsonl",
            mirror=mirror,
        )
    except PortInUse as error:
        print(error, file=sys.stderr)
        return exit_codes.PORT_IN_USE
    broker.stop_on_signals()
    if folder is not None:
        _announce(folder, settings, broker.epoch)
    logging.getLogger(__name__).info(
        "serving clients on %s:%s, workers on %s", settings.host, settings.client_port, settings.worker_port
    )
    broker.run()
    return 0


def _check_ports_and_host(settings: Settings) -> None:
    """Raise SettingsError now for settings that would fail later with a less clear reason."""
    from labkit.core.errors import N_, SettingsError
    from labkit.transport.hosts import check_is_here

    ports = {
        "LABKIT_CLIENT_PORT": settings.client_port,
        "LABKIT_WORKER_PORT": settings.worker_port,
        "LABKIT_EVENT_PORT": settings.event_port,
    }
    if len(set(ports.values())) < len(ports):
        listed = ", ".join(f"{name}={port}" for name, port in ports.items())
        raise SettingsError(N_("{ports}: each needs a port of its own"), ports=listed)
    check_is_here(settings.host)


def _policy(settings: Settings) -> str | Policy:
    from labkit.calls import policy_loader
    from labkit.core.broker.policies import POLICIES

    own = settings.policy not in POLICIES
    return policy_loader.load(settings.policy, settings.work) if own else settings.policy


def _announce(folder: Path, settings: Settings, epoch: bytes) -> None:
    """Write to ``broker.json`` that the broker serves, and at which ports."""
    state = {
        "pid": os.getpid(),
        "epoch": epoch.hex(),
        "client_port": settings.client_port,
        "worker_port": settings.worker_port,
        "event_port": settings.event_port,
    }
    try:
        atomic_write(folder / "broker.json", (json.dumps(state) + "\n").encode())
    except OSError as error:  # a full disk is no reason not to serve
        logging.getLogger(__name__).warning("broker.json cannot be written: %s", error)
