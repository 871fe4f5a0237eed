"""Reads files out of a container, running or not, with ``docker cp``."""

from __future__ import annotations

import io
import subprocess
import tarfile

from labkit.cluster.compose.docker import ATTEMPTS, COMMAND_S, Docker, DockerTimedOut, explain, no_docker
from labkit.core.errors import N_, ClusterError

NO_SUCH_FILE = ("could not find the file", "no such file")
"""Parts of Docker's complaint that the container has no such file."""


class NoSuchFile(ClusterError):
    """The container exists, and does not have this file."""


class IncompleteCopy(ClusterError):
    """``docker cp`` ended without an error and did not deliver the whole file."""


def copy_out(docker: Docker, container: str, path: str, timeout_s: float = COMMAND_S) -> tarfile.TarFile:
    """Return the file or folder ``path`` of a container as an open archive with at least one member.

    Raises NoSuchFile, DockerTimedOut after ``timeout_s`` seconds, BackendMissing without Docker,
    IncompleteCopy if all attempts ended with half an archive, and for any other complaint of Docker what
    ``explain`` returns. An attempt ends with half an archive if the container ends meanwhile: the engine
    takes the container's files away while it copies them, and reports no error.
    """
    for _attempt in range(ATTEMPTS):
        try:
            content = io.BytesIO(_run(docker, container, path, timeout_s))
            tar = tarfile.open(fileobj=content)  # noqa: SIM115, the caller closes it
            if tar.getmembers():  # reads all headers, and raises ReadError if the end is missing
                return tar
        except tarfile.ReadError:
            pass  # half an archive, like one without members
    raise IncompleteCopy(
        N_("docker cp {container}:{path} delivered no file in {attempts} attempts; docker ps -a shows why"),
        container=container[:12],
        path=path,
        attempts=ATTEMPTS,
    )


def _run(docker: Docker, container: str, path: str, timeout_s: float) -> bytes:
    try:
        ran = subprocess.run(
            ["docker", "cp", f"{container}:{path}", "-"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=docker.environ,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise no_docker() from error
    except subprocess.TimeoutExpired as error:
        raise DockerTimedOut(
            N_("{command} has not ended within {seconds:g} s; docker ps -a shows what became of it"),
            command="docker cp",
            seconds=timeout_s,
        ) from error
    if ran.returncode != 0:
        complaint = ran.stderr.decode("utf-8", "replace")
        if any(sign in complaint.lower() for sign in NO_SUCH_FILE):
            raise NoSuchFile(
                N_("{container} has no file {path}: {complaint}"),
                container=container[:12],
                path=path,
                complaint=complaint.strip(),
            )
        raise explain("docker cp", complaint)
    return ran.stdout
