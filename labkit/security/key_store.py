"""A folder of CURVE keys: who may come in, and what one needs to be let in.

::

    keys/
        broker.key              the broker's public key; every peer needs it, to know whom it talks to
        broker.key_secret       the broker's secret, on its own machine only
        clients/ana.key         whoever holds the secret of this key may come in as a client
        clients/ana.key_secret  that secret; only Ana's machine needs it
        workers/lab-2.key       likewise, as a worker
        workers/pool.key        with ``ids = "pool-*"``: as any worker whose id begins with pool-

The same layout serves both sides. For a broker, the public files of ``clients`` and ``workers`` *are* the
list of those who are admitted. A peer needs ``broker.key`` and its own secret, and nothing else of it.

Rules:

* A key belongs to the role whose folder it lies in. A worker's key also belongs to a worker id: the file's
  name, or the patterns in ``ids`` (``*`` and ``?``, comma separated), for workers whose ids are not known
  beforehand.
* Secrets are written for their owner alone (0600), whole, and never over what is there already.
* A file that cannot be understood admits nobody, and keeps nobody else out.

The files are ZeroMQ certificates (``zmq.auth.load_certificate`` reads them, and this module reads what
``zmq.auth.create_certificates`` writes). Making a key pair needs libzmq, so the pairs come from the caller.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labkit.core.errors import N_, InvalidInput, SettingsError
from labkit.support.atomic_files import write_whole

CLIENT, WORKER = "client", "worker"
ROLES = (CLIENT, WORKER)
BROKER = "broker"
LOCAL = "local"
"""The name of the keys that a cluster on the broker's machine uses for itself."""
PUBLIC, SECRET = ".key", ".key_secret"

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_KEY_CHARACTERS = 40
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_IDS = re.compile(r"[A-Za-z0-9_.*?-]{1,64}(,[A-Za-z0-9_.*?-]{1,64}){0,31}")
_LINE = re.compile(r"\s+([\w-]+)\s*=\s*(.*?)\s*")
_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Certificate:
    """One file's content; ``secret`` is None in a public one. Keys are text in Z85, 40 characters."""

    public: str
    secret: str | None = field(default=None, repr=False)
    ids: tuple[str, ...] = ()
    """Patterns of the worker ids that this key may use; empty: the file's name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one listed key allows. ``ids`` matters for workers only."""

    role: str
    name: str
    ids: tuple[str, ...]


Grants = Mapping[tuple[str, str], Grant]
"""By (role, public key)."""


class KeyFolder:
    """The folder at ``path``; making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, role: str, name: str, ending: str) -> Path:
        """Return where a key lies, whether it does or not; raises InvalidInput for what cannot be a name."""
        if role == BROKER:
            return self.path / f"{BROKER}{ending}"
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                N_("{name!r} cannot be a key's name: letters, digits, - _ . and at most 64 of them"),
                name=name,
            )
        return self._role_folder(role) / f"{name}{ending}"

    def _role_folder(self, role: str) -> Path:
        return self.path / f"{role}s"

    # --- a broker's side ------------------------------------------------------------------------------------

    def broker_secret(self) -> str:
        """Return the broker's secret key. Raises SettingsError, saying how to get one."""
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
        """Return who is admitted, and what is wrong with the files that admit nobody."""
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
        """Return something that changes whenever the list of those admitted does: cheap to ask."""
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
                continue  # a folder that is not there admits nobody
            folder = self._role_folder(role)
            found += [(role, n[: -len(PUBLIC)], folder / n) for n in names if n.endswith(PUBLIC)]
        return found

    def exposed(self) -> list[Path]:
        """Return the secret files that others on this machine may read."""
        if sys.platform == "win32":
            return []
        return [path for path in self.secret_files() if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]

    def secret_files(self) -> list[Path]:
        """Return all secrets in here."""
        return sorted([*self.path.glob(f"*{SECRET}"), *self.path.glob(f"*/*{SECRET}")])

    # --- a peer's side --------------------------------------------------------------------------------------

    def broker_public(self) -> str:
        """Return the broker's public key. Raises SettingsError, saying where it comes from."""
        path = self.file(BROKER, "", PUBLIC)
        if not path.exists():
            raise SettingsError(
                N_("LABKIT_KEYS: there is no {path}; copy it from the broker's machine"), path=path
            )
        return read_certificate(path).public

    def own(self, role: str, chosen: str | None, usual: str | None = None) -> Certificate:
        """Return the certificate with which a peer proves who it is.

        It is the one that is ``chosen`` (LABKIT_KEY); else the one called ``usual`` (the worker's id); else
        the only one there is. Raises SettingsError if none or several could be meant.
        """
        folder = self._role_folder(role)
        there = sorted(path.name[: -len(SECRET)] for path in folder.glob(f"*{SECRET}"))
        name = chosen or (usual if usual in there else None) or (there[0] if len(there) == 1 else None)
        if name is None and there:
            raise SettingsError(
                N_("LABKIT_KEYS: there are several secret keys in {folder} ({names}); LABKIT_KEY says which"),
                folder=folder, names=", ".join(there),
            )  # fmt: skip
        if name not in there:
            raise SettingsError(
                N_(
                    "LABKIT_KEYS: there is no secret key {name} in {folder}; one is made on the broker's "
                    "machine: python -m labkit keys add {role} NAME"
                ),
                name=f"{name}{SECRET}" if name else f"*{SECRET}", folder=folder, role=role,
            )  # fmt: skip
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
        # The secret first: who is on the list has a key that can be used.
        write_new(secret, certificate_text(Certificate(*pair, ids)), 0o600)
        write_new(public, certificate_text(Certificate(pair[0], None, ids)), 0o644)
        return public

    def remove(self, role: str, name: str) -> list[Path]:
        """Take a key off the list and delete it; return the files that were there, InvalidInput if none."""
        paths = [self.file(role, name, ending) for ending in (PUBLIC, SECRET)]
        removed = [path for path in paths if path.exists()]
        if not removed:
            raise InvalidInput(N_("there is no {path}; python -m labkit keys list shows them"), path=paths[0])
        for path in removed:
            path.unlink()
        return removed

    def take_in(self, path: Path) -> list[Path]:
        """Copy what is new in another folder of keys; return the files written.

        Secrets become their owner's alone. Raises InvalidInput, and copies nothing, if a file would replace
        one that says something else, or is no certificate.
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
            if ending == PUBLIC:  # whatever somebody pasted into it: a secret does not spread from there
                certificate = Certificate(certificate.public, None, certificate.ids)
            target = self.file(role, name, ending)
            if not target.exists():
                new.append((target, certificate_text(certificate), 0o600 if ending == SECRET else 0o644))
            elif read_certificate(target) != certificate:
                raise InvalidInput(
                    N_(
                        "{path} is there already and is another key; nothing was copied. "
                        "Remove it if nobody needs it any more"
                    ),
                    path=target,
                )
        for target, text, mode in new:
            write_new(target, text, mode)
        return [target for target, _text, _mode in new]

    def give_out(self, role: str, name: str, path: Path) -> list[Path]:
        """Write into the folder ``path`` what one peer needs: the broker's public key and its own pair."""
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


def read_certificate(path: Path) -> Certificate:
    """Return what a certificate file says. Raises SettingsError that names the file and what is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise SettingsError(
            N_("cannot read the key in {path}: {reason}"), path=path, reason=reason
        ) from error
    values: dict[str, str] = {}
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            values.setdefault(found[1], found[2].strip("\"'"))
    public, secret, ids = values.get("public-key", ""), values.get("secret-key"), values.get("ids", "")
    if not is_key(public) or (secret is not None and not is_key(secret)):
        raise SettingsError(N_("{path} is no ZeroMQ certificate: it has no valid key"), path=path)
    if ids and not _IDS.fullmatch(ids):
        raise SettingsError(
            N_("{path}: ids = {ids!r} is not understood; worker ids like lab-2 or pool-* are expected"),
            path=path, ids=ids,
        )  # fmt: skip
    return Certificate(public, secret, tuple(ids.split(",")) if ids else ())


def is_key(text: str) -> bool:
    """Return whether ``text`` is 32 bytes in Z85: five characters for each four bytes."""
    if len(text) != _KEY_CHARACTERS or any(character not in _Z85 for character in text):
        return False
    for start in range(0, _KEY_CHARACTERS, 5):
        value = 0
        for character in text[start : start + 5]:
            value = value * 85 + _Z85.index(character)
        if value >= 1 << 32:
            return False
    return True


def certificate_text(certificate: Certificate) -> str:
    """Return a certificate file's text, as ``read_certificate`` and ``zmq.auth`` read it."""
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
    """Write a file that did not exist, whole, with these permissions from its first moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, text.encode(), mode)  # what it writes first does not end like a key: nobody reads it
