"""The keys of a cluster in containers: made once, and each only where it is needed.

``python -m labkit.cluster.compose.keys``, run by the one-shot service ``keys`` of the compose file, fills one
named volume for each peer, mounted below ``/out``::

    broker/         its own secret, the list of admitted peers, a client's key for its health check
    worker-1/ ...   the broker's public key, and the secret of worker-1
    worker/         the same for the elastic workers, whose ids are their containers' names (``ELASTIC_IDS``)
    lab/            the secret of the client ``lab``, and the token of JupyterLab
    host/           the secret of the client ``host``: for this machine outside the containers, and for the
                    HTTP side, which acts for it; with the token of the HTTP side

So a worker, which runs learners' code, holds only its own secret. Volumes persist: the keys are made once,
and are new after ``docker-compose down --volumes``. An interrupted run leaves no file ``finished``, so the
next run starts again.

Each later run (``docker-compose up -d`` starts the service again) checks all volumes. A peer whose volume was
lost or damaged gets a new key, and the broker's list the public half of it; the others keep theirs. Without
the broker's own volume all keys are made anew: workers that still run with an old one end, because they are
refused, and find the new one when Docker starts them again.

On the host, the backend reads ``host/`` from the service's container (``docker cp``) whenever it connects,
and leaves nothing on the disk. ``python -m labkit keys import-compose`` writes it to a folder, for programs
that connect by themselves.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from labkit.cluster.compose import containers
from labkit.cluster.compose.copied_out import copy_out
from labkit.cluster.compose.docker import Docker
from labkit.core.errors import N_, ClusterError, InvalidInput, SettingsError
from labkit.security.credentials import Keys, of_folder
from labkit.security.key_store import (
    BROKER,
    CLIENT,
    PUBLIC,
    SECRET,
    WORKER,
    Certificate,
    KeyFolder,
    certificate_text,
    new_pair,
    read_certificate,
    write_new,
)
from labkit.support import temporary

OUT = Path("/out")
HOST, HEALTH = "host", "health"
CLIENTS = (HOST, containers.LAB, HEALTH)
PEERS = (*containers.NAMED_WORKERS, containers.ELASTIC, containers.LAB, HOST)
"""The peers with a volume of their own."""
TOKEN = "lab.token"
API_TOKEN = "api.token"
TOKENS = {containers.LAB: (TOKEN,), HOST: (API_TOKEN,)}
"""The tokens that a peer's volume holds besides its keys."""
FINISHED = "finished"
ELASTIC_IDS = (f"?*-{containers.ELASTIC}-*", f"{WORKER}-" + "?" * containers.SHORT_ID)
"""The ids of elastic workers: PROJECT-worker-2, or one made of a container's id; never a named worker's."""


# --- in the container ---------------------------------------------------------------------------------------


def make(out: Path) -> list[str]:
    """Make the keys that are missing below ``out``; return the names of the peers that got new ones."""
    if not _is_broker_whole(out):
        return _make_all(out)
    listed = KeyFolder(out / BROKER)
    made = [name for name in PEERS if not _is_peer_whole(out, name)]
    for name in made:
        _make_one(out, name)
    if (
        read_certificate(listed.file(WORKER, containers.ELASTIC, PUBLIC)).ids != ELASTIC_IDS
    ):  # an older labkit's
        _list(
            listed, WORKER, containers.ELASTIC, KeyFolder(out / containers.ELASTIC).own(WORKER, None).public
        )
    return made


def _is_broker_whole(out: Path) -> bool:
    """Return whether the broker's volume has its pair, the health check's, and the mark of a whole run."""
    folder = KeyFolder(out / BROKER)
    try:
        pair = read_certificate(folder.file(BROKER, BROKER, SECRET))
        health = folder.own(CLIENT, HEALTH)
        listed = read_certificate(folder.file(CLIENT, HEALTH, PUBLIC))
        same = folder.broker_public() == pair.public and listed.public == health.public
    except SettingsError:
        return False
    return same and pair.secret is not None and (out / BROKER / FINISHED).exists()


def _is_peer_whole(out: Path, name: str) -> bool:
    """Return whether the peer's volume holds the broker's key and a secret that the broker admits."""
    folder, broker = KeyFolder(out / name), KeyFolder(out / BROKER)
    try:
        own = folder.own(_role(name), name)
        listed = read_certificate(broker.file(_role(name), name, PUBLIC))
        same = listed.public == own.public and folder.broker_public() == broker.broker_public()
        tokens = [(out / name / file).read_text(encoding="ascii").strip() for file in TOKENS.get(name, ())]
    except (SettingsError, OSError, UnicodeDecodeError):
        return False
    return same and all(tokens)


def _make_one(out: Path, name: str) -> None:
    """Give one peer a new key, and have the broker admit it instead of the peer's former one."""
    _empty(out / name)
    role, broker = _role(name), KeyFolder(out / BROKER)
    pair = new_pair()
    with temporary.new_folder() as folder:
        pairs = KeyFolder(Path(folder))
        write_new(
            pairs.file(BROKER, BROKER, PUBLIC), certificate_text(Certificate(broker.broker_public())), 0o644
        )
        pairs.add(role, name, pair, _ids(name))
        pairs.give_out(role, name, out / name)
    _write_tokens(out, name)
    _list(broker, role, name, pair[0])


def _list(broker: KeyFolder, role: str, name: str, public: str) -> None:
    """Write a public key to the broker's list; it replaces the peer's former one."""
    text = certificate_text(Certificate(public, None, tuple(_ids(name))))
    write_new(broker.file(role, name, PUBLIC), text, 0o644)


def _role(name: str) -> str:
    return CLIENT if name in CLIENTS else WORKER


def _ids(name: str) -> Sequence[str]:
    return ELASTIC_IDS if name == containers.ELASTIC else ()


def _write_tokens(out: Path, name: str) -> None:
    for file in TOKENS.get(name, ()):
        write_new(out / name / file, secrets.token_hex(24) + "\n", 0o600)


def _make_all(out: Path) -> list[str]:
    """Make all keys and distribute them below ``out``; return the names of all peers."""
    for name in (BROKER, *PEERS):
        _empty(out / name)
    with temporary.new_folder() as folder:
        everything = KeyFolder(Path(folder))

        everything.add(BROKER, BROKER, new_pair())
        for name in CLIENTS:
            everything.add(CLIENT, name, new_pair())
        for name in containers.NAMED_WORKERS:
            everything.add(WORKER, name, new_pair())
        everything.add(WORKER, containers.ELASTIC, new_pair(), ELASTIC_IDS)
        for name in PEERS:
            everything.give_out(_role(name), name, out / name)
            _write_tokens(out, name)
        for path in everything.secret_files():
            if path.parent.name != f"{WORKER}s" and path.name.split(".")[0] in (BROKER, HEALTH):
                continue
            path.unlink()  # the broker needs its peers' public keys, never their secrets
        shutil.copytree(folder, out / BROKER, dirs_exist_ok=True)
    (out / BROKER / FINISHED).touch()
    return list(PEERS)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Make the keys unless they exist; print which."""
    made = make(OUT)
    print(f"new keys for {', '.join(made)}" if made else "the keys exist already")
    return 0


# --- on the host --------------------------------------------------------------------------------------------


def of_host(docker: Docker) -> Keys:
    """Return the keys with which this machine is a client of the project's broker."""
    with temporary.new_folder() as folder:
        try:
            import_to(docker, Path(folder))
            return of_folder(KeyFolder(Path(folder)), CLIENT, HOST)
        except (InvalidInput, SettingsError) as error:
            raise _lost(docker, HOST) from error


def import_to(docker: Docker, folder: Path) -> list[Path]:
    """Write the host's keys into ``folder``; return the new files. See ``KeyFolder.take_in``."""
    with temporary.new_folder() as received:
        _copy_out(docker, HOST, Path(received))
        return KeyFolder(folder).take_in(Path(received) / HOST)


def lab_token(docker: Docker) -> str:
    """Return the token of JupyterLab."""
    return _token(docker, containers.LAB, TOKEN)


def api_token(docker: Docker) -> str:
    """Return the token of the HTTP side."""
    return _token(docker, HOST, API_TOKEN)


def _token(docker: Docker, peer: str, file: str) -> str:
    with temporary.new_folder() as received:
        _copy_out(docker, peer, Path(received))
        try:
            return (Path(received) / peer / file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise _lost(docker, peer) from error


def _lost(docker: Docker, name: str) -> ClusterError:
    """Return the error of a peer whose volume is empty or damaged."""
    return ClusterError(
        N_(
            "the keys of {name!r} in the volume {project}_keys-{name} are lost or damaged; "
            "docker-compose -p {project} up -d --no-recreate keys makes them anew"
        ),
        name=name,
        project=docker.project,
    )


def _copy_out(docker: Docker, what: str, to: Path) -> None:
    """Copy a file or folder below ``OUT`` from the ended container of the service ``keys``."""
    found = [c for c in docker.containers() if containers.service_of(c) == containers.KEYS]
    if not found:
        raise containers.ClusterIncomplete(
            N_(
                "the container that made the keys of the project {project} is missing; "
                "python -m labkit up --backend compose brings it back"
            ),
            project=docker.project,
        )
    with copy_out(docker, found[0]["Id"], f"{OUT}/{what}") as tar:
        tar.extractall(to, filter="data")


if __name__ == "__main__":
    sys.exit(main())
