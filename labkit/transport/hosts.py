"""Whether ``LABKIT_HOST`` names this machine: an address at which a program here can listen."""

from __future__ import annotations

import errno
import socket

from labkit.core.errors import N_, SettingsError

ANY = ("0.0.0.0", "*")
"""All addresses of this machine. ZeroMQ understands the second, sockets only the first."""


def listening(host: str) -> str:
    """Return ``host`` as a socket understands it."""
    return ANY[0] if host in ANY else host


def check_is_here(host: str) -> None:
    """Raise SettingsError if no program on this machine can listen at ``host``."""
    try:
        found = socket.getaddrinfo(listening(host), None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # gaierror is an OSError
        raise SettingsError(
            N_(
                "LABKIT_HOST={host}: this name is unknown here; a name or an IPv4 address of this machine is "
                "expected, like 127.0.0.1 or 0.0.0.0"
            ),
            host=host,
        ) from error
    address = found[0][4][0]
    with socket.socket(socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise SettingsError(
                N_(
                    "LABKIT_HOST={host}: this is not an address of this machine; use one of its own, like "
                    "127.0.0.1, or 0.0.0.0 for all of them"
                ),
                host=host,
            ) from error
