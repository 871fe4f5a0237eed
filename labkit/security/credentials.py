"""Credentials: how a peer authenticates itself to the broker, and how the broker knows its peers.

* ``Token``: one shared secret for all processes of a cluster on one machine. It crosses the connection in the
  clear (ZMTP PLAIN), so it is for loopback only.
* ``Keys``: a key pair of the peer's own, and the broker's public key (ZMTP CURVE). Both sides prove their
  identity, all traffic is encrypted, and each key can be revoked by itself.

A peer has one or the other; the broker has a ``Token`` or a whole ``KeyFolder``. The settings decide:
``LABKIT_KEYS`` names a folder of keys, ``LABKIT_TOKEN_FILE`` a file with the secret, and keys come first.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from labkit.core.errors import N_, InvalidInput, SettingsError
from labkit.security.key_store import CLIENT, WORKER, KeyFolder, is_key
from labkit.support.settings import Settings


@dataclass(frozen=True, slots=True)
class Token:
    """The cluster's shared secret."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """A peer's own key pair, and the public key of its broker; text in Z85.

    Raises ``InvalidInput`` for a text that is no key: libzmq would report it only later, in another thread.
    """

    public: str
    secret: str = field(repr=False)
    broker: str

    def __post_init__(self) -> None:
        if not all(map(is_key, (self.public, self.secret, self.broker))):
            raise InvalidInput(N_("a CURVE key is 40 characters of Z85; at least one of these three is none"))


Credentials = Token | Keys

_NEITHER = N_(
    "neither LABKIT_TOKEN_FILE nor LABKIT_KEYS is set: a broker and its peers authenticate with the "
    "cluster's secret or with keys"
)


def of_client(settings: Settings) -> Credentials:
    """Return a client's credentials. Raises SettingsError if none are set, or if they cannot be read."""
    return _of_peer(settings, CLIENT, None)


def of_worker(settings: Settings) -> Credentials:
    """Return a worker's credentials. Raises SettingsError if none are set, or if they cannot be read."""
    return _of_peer(settings, WORKER, settings.worker_id)


def _of_peer(settings: Settings, role: str, usual: str | None) -> Credentials:
    if settings.keys is not None:
        try:
            return of_folder(KeyFolder(settings.keys), role, settings.key, usual)
        except SettingsError as error:
            if settings.control is None:
                raise
            raise _lost_in_container(settings.keys) from error
    token = settings.token()
    if token is None:
        raise SettingsError(_NEITHER)
    return Token(token)


def of_folder(folder: KeyFolder, role: str, chosen: str | None, usual: str | None = None) -> Keys:
    """Return a peer's keys from a folder; for ``chosen`` and ``usual`` see ``KeyFolder.own``."""
    own = folder.own(role, chosen, usual)
    assert own.secret is not None
    return Keys(own.public, own.secret, folder.broker_public())


def of_broker(settings: Settings) -> Token | KeyFolder:
    """Return how a broker knows its peers. Raises SettingsError if nothing is set, or if it is not safe."""
    known: Token | KeyFolder
    if settings.keys is not None:
        known = KeyFolder(settings.keys)
        try:
            known.broker_secret()  # raises now, while the error can still be shown
        except SettingsError as error:
            if settings.control is None:
                raise
            raise _lost_in_container(settings.keys) from error
    else:
        known_secret = settings.token()
        if known_secret is None:
            check_host(settings.host, None)
            raise SettingsError(_NEITHER)
        known = Token(known_secret)
    check_host(settings.host, known)
    return known


def _lost_in_container(folder: Path) -> SettingsError:
    """Return the error of a container whose keys cannot be used, with the command that makes them anew."""
    return SettingsError(
        N_(
            "this container's keys in {folder} are lost or damaged; on the host, in the lab's folder, "
            "docker-compose up -d --no-recreate keys makes them anew"
        ),
        folder=folder,
    )


def check_host(host: str, known: Token | KeyFolder | None) -> None:
    """Raise ``SettingsError`` if other machines can reach ``host`` and no keys protect it."""
    if isinstance(known, KeyFolder) or is_loopback(host):
        return
    raise SettingsError(
        N_(
            "LABKIT_HOST={host}: other machines could reach this address, and the cluster's secret would "
            "cross the network in the clear; set LABKIT_KEYS to a folder of keys (python -m labkit keys "
            "make), or use 127.0.0.1"
        ),
        host=host,
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
