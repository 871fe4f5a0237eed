"""A folder of CURVE keys: which clients and workers are admitted, and what a peer needs to be admitted.

::

    keys/
        broker.key              the broker's public key; every peer needs it, to verify the broker
        broker.key_secret       the broker's secret, on its own machine only
        clients/ana.key         the holder of this key's secret is admitted as a client
        clients/ana.key_secret  that secret; only Ana's machine needs it
        workers/lab-2.key       the same for the worker lab-2
        workers/pool.key        with ``ids = "pool-*"``: any worker whose id begins with pool-

Both sides use the same layout. For a broker, the public files of ``clients`` and ``workers`` *are* the list
of admitted peers. A peer needs only ``broker.key`` and its own secret.

Rules:

* A key belongs to the role whose folder it lies in. A worker's key also belongs to a worker id: the file's
  name, or the patterns in ``ids`` (``*`` and ``?``, comma separated), for workers whose ids are not known
  beforehand.
* Secrets are written with mode 0600, atomically, and never over an existing file.
* A file that cannot be understood admits no peer, and does not affect the other files.

The files are ZeroMQ certificates: ``zmq.auth`` reads them, and this module reads what
``zmq.auth.create_certificates`` writes. They are not written with ``create_certificates``, because it writes
in place with the default permissions, and leaves ``ids`` out of the public file. pyzmq is imported only when
a key is made or read: loading it takes 30 ms.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labkit.core.errors import N_, InvalidInput, SettingsError
from labkit.core.names import is_name
from labkit.support.atomic_files import atomic_write

CLIENT, WORKER = "client", "worker"
ROLES = (CLIENT, WORKER)
BROKER = "broker"
LOCAL = "local"
"""The name of the keys that a cluster on the broker's machine uses for itself."""
PUBLIC, SECRET = ".key", ".key_secret"

_KEY_BYTES = 32
_IDS = re.compile(r"[A-Za-z0-9_.*?-]{1,64}(,[A-Za-z0-9_.*?-]{1,64}){0,31}")
_IDS_LINE = re.compile(r"^[ \t]+ids[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One file's content; ``secret`` is None in a public one. Keys are text in Z85, 40 characters."""

    public: str
    secret: str | None = field(default=None, repr=False)
    ids: tuple[str, ...] = ()
    """Patterns of the worker ids that this key may use; empty: the file's name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one listed key allows. ``ids`` applies to workers only."""

    role: str
    name: str
    ids: tuple[str, ...]


Grants = Mapping[tuple[str, str], Grant]
"""By (role, public key)."""


class KeyFolder:
    """The folder at ``path``; creating the object does not touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, role: str, name: str, ending: str) -> Path:
        """Return the path of a key, which need not exist; raises InvalidInput for an impossible name."""
        if role == BROKER:
            return self.path / f"{BROKER}{ending}"
        if not is_name(name):
            raise InvalidInput(
                N_("{name!r} cannot be a key's name: letters, digits, - _ . and at most 64 of them"),
                name=name,
            )
        return self._role_folder(role) / f"{name}{ending}"

    def _role_folder(self, role: str) -> Path:
        return self.path / f"{role}s"

    # --- a broker's side ------------------------------------------------------------------------------------

    def broker_secret(self) -> str:
        """Return the broker's secret key. Raises SettingsError, with the command that makes one."""
        path = self.file(BROKER, "", SECRET)
        if not path.exists():
            raise SettingsError(
                N_("LABKIT_KEYS: there is no secret key of a broker at {path}; python -m labkit keys make"),
                path=path,
            )
        secret = read_certificate(path).secret
        if secret is None:
            raise SettingsError(N_("LABKIT_KEYS: {path} holds no secret key"), path=path)
        return secret

    def grants(self) -> tuple[Grants, list[SettingsError]]:
        """Return the admitted keys, and an error for each file that cannot be used."""
        found: dict[tuple[str, str], Grant] = {}
        wrong: list[SettingsError] = []
        for role, name, path in self._public_files():
            try:
                certificate = read_certificate(path)
            except SettingsError as error:
                wrong.append(error)
                continue
            ids = certificate.ids or (name,)
            if (other := found.get((role, certificate.public))) is not None:
                ids = (*other.ids, *ids)
            found[role, certificate.public] = Grant(role, name, ids)
        return found, wrong

    def signature(self) -> object:
        """Return a value that changes whenever the list of admitted keys does; cheap enough to poll."""
        seen = []
        for role, name, path in self._public_files():
            try:
                status = path.stat()
            except OSError:
                continue  # removed at this moment
            seen.append((role, name, status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(seen)

    def _public_files(self) -> list[tuple[str, str, Path]]:
        found = []
        for role in ROLES:
            try:
                names = sorted(os.listdir(self._role_folder(role)))
            except OSError:
                continue  # a missing folder admits no peer
            folder = self._role_folder(role)
            found += [(role, n[: -len(PUBLIC)], folder / n) for n in names if n.endswith(PUBLIC)]
        return found

    def exposed(self) -> list[Path]:
        """Return the secret files that other users of this machine may read."""
        if sys.platform == "win32":
            return []
        return [path for path in self.secret_files() if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]

    def secret_files(self) -> list[Path]:
        """Return all secret files of this folder, sorted."""
        return sorted([*self.path.glob(f"*{SECRET}"), *self.path.glob(f"*/*{SECRET}")])

    # --- a peer's side --------------------------------------------------------------------------------------

    def broker_public(self) -> str:
        """Return the broker's public key. Raises SettingsError, with the place to copy it from."""
        path = self.file(BROKER, "", PUBLIC)
        if not path.exists():
            raise SettingsError(
                N_("LABKIT_KEYS: there is no {path}; copy it from the broker's machine"), path=path
            )
        return read_certificate(path).public

    def own(self, role: str, chosen: str | None, usual: str | None = None) -> Certificate:
        """Return a peer's own certificate.

        It is the one named ``chosen`` (LABKIT_KEY); else the one named ``usual`` (the worker's id); else the
        only one. Raises SettingsError if there is none, or if several are possible.
        """
        folder = self._role_folder(role)
        there = sorted(path.name[: -len(SECRET)] for path in folder.glob(f"*{SECRET}"))
        name = chosen or (usual if usual in there else None) or (there[0] if len(there) == 1 else None)
        if name is None and there:
            raise SettingsError(
                N_("LABKIT_KEYS: there are several secret keys in {folder} ({names}); set LABKIT_KEY to one"),
                folder=folder,
                names=", ".join(there),
            )
        if name not in there:
            raise SettingsError(
                N_(
                    "LABKIT_KEYS: there is no secret key {name} in {folder}; one is made on the broker's "
                    "machine: python -m labkit keys add {role} NAME"
                ),
                name=f"{name}{SECRET}" if name else f"*{SECRET}",
                folder=folder,
                role=role,
            )
        path = folder / f"{name}{SECRET}"
        certificate = read_certificate(path)
        if certificate.secret is None:
            raise SettingsError(N_("LABKIT_KEYS: {path} holds no secret key"), path=path)
        return certificate

    # --- writing --------------------------------------------------------------------------------------------

    def add(self, role: str, name: str, pair: tuple[str, str], ids: Iterable[str] = ()) -> Path:
        """Write a new key pair (public, secret); return the public file. ``ids``: see the module's head.

        Raises InvalidInput if there is one of that name already.
        """
        ids = tuple(ids)
        if ids and not _IDS.fullmatch(",".join(ids)):
            raise InvalidInput(
                N_("{ids!r}: worker ids are expected, like lab-2 or pool-*, separated by commas"),
                ids=",".join(ids),
            )
        public, secret = self.file(role, name, PUBLIC), self.file(role, name, SECRET)
        for path in (public, secret):
            if path.exists():
                raise InvalidInput(
                    N_("{path} is there already; remove it first if it is to be replaced"), path=path
                )
        # The secret first: every key on the list can then be used.
        write_new(secret, certificate_text(Certificate(*pair, ids)), 0o600)
        write_new(public, certificate_text(Certificate(pair[0], None, ids)), 0o644)
        return public

    def remove(self, role: str, name: str) -> list[Path]:
        """Take a key off the list and delete its files; return them. Raises InvalidInput if there is none."""
        paths = [self.file(role, name, ending) for ending in (PUBLIC, SECRET)]
        removed = [path for path in paths if path.exists()]
        if not removed:
            raise InvalidInput(N_("there is no {path}; python -m labkit keys list shows them"), path=paths[0])
        for path in removed:
            path.unlink()
        return removed

    def take_in(self, path: Path) -> list[Path]:
        """Copy the new files of another folder of keys; return the files written.

        Secrets get mode 0600. Raises InvalidInput, and copies nothing, if a file would replace one with
        another content, or is no certificate.
        """
        other = KeyFolder(path)
        files = [(BROKER, BROKER, e) for e in (PUBLIC, SECRET) if other.file(BROKER, "", e).exists()]
        for role in ROLES:
            for ending in (PUBLIC, SECRET):
                found = sorted(other._role_folder(role).glob(f"*{ending}"))
                files += [(role, one.name[: -len(ending)], ending) for one in found]
        if not files:
            raise InvalidInput(N_("there are no keys in {folder}"), folder=path)
        new: list[tuple[Path, str, int]] = []
        for role, name, ending in files:
            certificate = read_certificate(other.file(role, name, ending))
            if ending == PUBLIC:  # a secret pasted into a public file does not spread
                certificate = Certificate(certificate.public, None, certificate.ids)
            target = self.file(role, name, ending)
            if not target.exists():
                new.append((target, certificate_text(certificate), 0o600 if ending == SECRET else 0o644))
            elif read_certificate(target) != certificate:
                raise InvalidInput(
                    N_(
                        "{path} is there already and is another key; nothing was copied. "
                        "Remove it first if it is no longer needed"
                    ),
                    path=target,
                )
        for target, text, mode in new:
            write_new(target, text, mode)
        return [target for target, _text, _mode in new]

    def give_out(self, role: str, name: str, path: Path) -> list[Path]:
        """Write what one peer needs into the folder ``path``: the broker's public key and its own pair."""
        own = self.own(role, name)
        other = KeyFolder(path)
        parts = [
            (other.file(BROKER, "", PUBLIC), Certificate(self.broker_public()), 0o644),
            (other.file(role, name, SECRET), own, 0o600),
        ]
        for target, _certificate, _mode in parts:
            if target.exists():
                raise InvalidInput(N_("{path} is there already; choose an empty folder"), path=target)
        for target, certificate, mode in parts:
            write_new(target, certificate_text(certificate), mode)
        return [target for target, _certificate, _mode in parts]


# --- certificate files --------------------------------------------------------------------------------------


def new_pair() -> tuple[str, str]:
    """Return a new key pair as text (public, secret)."""
    import zmq

    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def read_certificate(path: Path) -> Certificate:
    """Return a certificate file's content. Raises SettingsError with the file and the reason."""
    from zmq.auth import load_certificate

    public, secret = b"", None
    try:
        public, secret = load_certificate(path)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "no text"
        raise SettingsError(
            N_("cannot read the key in {path}: {reason}"), path=path, reason=reason
        ) from error
    except (ValueError, IndexError):  # no line "public-key = ...", or one without "="
        text = ""
    if not is_key(public) or (secret is not None and not is_key(secret)):
        raise SettingsError(N_("{path} is no ZeroMQ certificate: it has no valid key"), path=path)
    found = _IDS_LINE.search(text)
    ids = found[1].strip("\"'") if found else ""
    if ids and not _IDS.fullmatch(ids):
        raise SettingsError(
            N_("{path}: ids = {ids!r} is not understood; worker ids like lab-2 or pool-* are expected"),
            path=path,
            ids=ids,
        )
    return Certificate(
        public.decode("ascii"),
        None if secret is None else secret.decode("ascii"),
        tuple(ids.split(",")) if ids else (),
    )


def is_key(text: str | bytes) -> bool:
    """Return whether ``text`` is a CURVE key: 32 bytes in Z85, which are 40 characters."""
    from zmq.utils import z85

    try:
        return len(z85.decode(text)) == _KEY_BYTES
    except (ValueError, KeyError, struct.error):
        return False


def certificate_text(certificate: Certificate) -> str:
    """Return a certificate file's text; ``read_certificate`` and ``zmq.auth`` read it."""
    lines = ["#   ZeroMQ CURVE certificate, made by labkit", "", "metadata"]
    if certificate.secret is not None:
        lines[0] += ": SECRET, for its owner alone"
    if certificate.ids:
        lines.append(f'    ids = "{",".join(certificate.ids)}"')
    lines += ["curve", f'    public-key = "{certificate.public}"']
    if certificate.secret is not None:
        lines.append(f'    secret-key = "{certificate.secret}"')
    return "\n".join(lines) + "\n"


def write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that did not exist, atomically, with these permissions from the start."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic_write(path, text.encode(), mode)  # its temporary file does not end like a key, so it is never read
