"""The keys of a cluster in containers: made once, and each only where it is needed.

``python -m labkit.cluster.compose.keys``, run by the one-shot service ``keys`` of the compose file, fills one
named volume for each peer, mounted below ``/out``::

    broker/         its own secret, the list of admitted peers, a client's key for its health check
    worker-1/ ...   the broker's public key, and the secret of worker-1
    worker/         the same for the elastic workers, whose ids are their containers' names
    lab/            the secret of the client ``lab``, and the token of JupyterLab
    host/           the secret of the client ``host``: for this machine outside the containers

So a worker, which runs learners' code, holds only its own secret. Volumes persist: the keys are made once,
and are new after ``docker-compose down --volumes``. An interrupted run leaves no file ``finished``, so the
next run starts again.

On the host, the backend reads ``host/`` from the service's container (``docker cp``) whenever it connects,
and leaves nothing on the disk. ``python -m labkit keys import-compose`` writes it to a folder, for programs
that connect by themselves.
"""

from __future__ import annotations

import io
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from labkit.cluster.compose import containers
from labkit.cluster.compose.docker import Docker, explain
from labkit.core.errors import N_, ClusterError
from labkit.security.credentials import Keys, of_folder
from labkit.security.key_store import BROKER, CLIENT, WORKER, KeyFolder, new_pair

OUT = Path("/out")
HOST, HEALTH = "host", "health"
CLIENTS = (HOST, containers.LAB, HEALTH)
TOKEN = "lab.token"
FINISHED = "finished"
ELASTIC_IDS = f"{WORKER}-" + "?" * containers.SHORT_ID


# --- in the container ---------------------------------------------------------------------------------------


def make(out: Path) -> bool:
    """Make all keys and distribute them below ``out``; return whether that was needed."""
    if (out / BROKER / FINISHED).exists():
        return False
    peers = [*containers.NAMED_WORKERS, containers.ELASTIC, containers.LAB, HOST]
    for name in (BROKER, *peers):
        _empty(out / name)
    with tempfile.TemporaryDirectory() as folder:
        everything = KeyFolder(Path(folder))

        everything.add(BROKER, BROKER, new_pair())
        for name in CLIENTS:
            everything.add(CLIENT, name, new_pair())
        for name in containers.NAMED_WORKERS:
            everything.add(WORKER, name, new_pair())
        everything.add(WORKER, containers.ELASTIC, new_pair(), [ELASTIC_IDS])
        for name in peers:
            role = CLIENT if name in CLIENTS else WORKER
            everything.give_out(role, name, out / name)
        (out / containers.LAB / TOKEN).write_text(secrets.token_hex(24) + "\n", encoding="ascii")
        (out / containers.LAB / TOKEN).chmod(0o600)
        for path in everything.secret_files():
            if path.parent.name != f"{WORKER}s" and path.name.split(".")[0] in (BROKER, HEALTH):
                continue
            path.unlink()  # the broker needs its peers' public keys, never their secrets
        shutil.copytree(folder, out / BROKER, dirs_exist_ok=True)
    (out / BROKER / FINISHED).touch()
    return True


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Make the keys unless they exist; print which."""
    print("the keys are made" if make(OUT) else "the keys exist already")
    return 0


# --- on the host --------------------------------------------------------------------------------------------


def of_host(docker: Docker) -> Keys:
    """Return the keys with which this machine is a client of the project's broker."""
    with tempfile.TemporaryDirectory() as folder:
        import_to(docker, Path(folder))
        return of_folder(KeyFolder(Path(folder)), CLIENT, HOST)


def import_to(docker: Docker, folder: Path) -> list[Path]:
    """Write the host's keys into ``folder``; return the new files. See ``KeyFolder.take_in``."""
    with tempfile.TemporaryDirectory() as received:
        _copy_out(docker, HOST, Path(received))
        return KeyFolder(folder).take_in(Path(received) / HOST)


def lab_token(docker: Docker) -> str:
    """Return the token of JupyterLab."""
    with tempfile.TemporaryDirectory() as received:
        _copy_out(docker, f"{containers.LAB}/{TOKEN}", Path(received))
        return (Path(received) / TOKEN).read_text(encoding="ascii").strip()


def _copy_out(docker: Docker, what: str, to: Path) -> None:
    """Copy a file or folder below ``OUT`` from the ended container of the service ``keys``."""
    found = [c for c in docker.containers() if containers.service_of(c) == containers.KEYS]
    if not found:
        raise ClusterError(
            N_(
                "the container that made the keys of {project} is not there; "
                "python -m labkit down, then up, makes them anew"
            ),
            project=docker.project,
        )
    ran = subprocess.run(
        ["docker", "cp", f"{found[0]['Id']}:{OUT}/{what}", "-"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=docker.environ,
        check=False,
    )
    if ran.returncode != 0:
        raise explain("docker cp", ran.stderr.decode("utf-8", "replace"))
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as tar:
        tar.extractall(to, filter="data")


if __name__ == "__main__":
    sys.exit(main())
