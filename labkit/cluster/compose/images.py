"""The images of the compose backend: built when the code has changed, saved to a file, loaded from one.

An image's tag is a digest of its sources. ``python -m labkit up`` builds the images if there are none for the
present sources. So a class that has loaded the images from a file, and has the same code, needs neither a
network nor a build; and two copies of the lab on one machine never use each other's code.

The images built last are also tagged ``latest``, which ``docker-compose up -d`` uses. (That command builds
missing images; after a change of the code, run ``docker-compose build``.)
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from labkit.cluster.compose.docker import BUILD_S, Docker, explain, run_command
from labkit.cluster.compose.docker_json import Container
from labkit.core.errors import N_, ClusterError, InvalidInput
from labkit.support.i18n import _
from labkit.support.paths import ROOT

BUILT = ("labkit-broker", "labkit-worker", "labkit-lab")
FETCHED = ("redis:7-alpine",)
SOURCES = ("labkit", "workers", "notebooks", "docker", "requirements.txt", "constraints.txt", ".dockerignore")
SERVICES = ("broker", "worker-1", "lab")
"""One service for each of our images."""
LATEST = "latest"
FILE_S = 900.0


def source_digest(root: Path = ROOT) -> str:
    """Return a digest of all sources of the images."""
    digest = hashlib.sha256()
    for name in SOURCES:
        top = root / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build_if_need_be(docker: Docker) -> bool:
    """Build the images unless there are some for the present sources; return whether it was needed.

    From then on ``docker`` uses these images.
    """
    digest = source_digest()
    docker.environ["LABKIT_TAG"] = digest
    if are_built(docker, digest):
        for image in BUILT:
            if not is_here(docker, f"{image}:{LATEST}"):
                docker.run("tag", f"{image}:{digest}", f"{image}:{LATEST}")
        return False
    text = _("Building the images for the containers: a few minutes the first time, later seconds.")
    print(text, file=sys.stderr, flush=True)
    docker.compose("build", "--quiet", *SERVICES, timeout_s=BUILD_S)
    for image in BUILT:
        docker.run("tag", f"{image}:{digest}", f"{image}:{LATEST}")
    return True


def are_built(docker: Docker, digest: str) -> bool:
    """Return whether all images of the sources with this digest exist."""
    return all(is_here(docker, f"{image}:{digest}") for image in BUILT)


def restore(docker: Docker, found: Sequence[Container]) -> None:
    """Give images of ours that have lost their names these names again; containers still use them.

    ``docker rmi`` takes only the name of an image in use. Without it no further container could be made.
    """
    names = {container["Config"]["Image"]: container.get("Image", "") for container in found}
    for name, image in names.items():
        if name.partition(":")[0] in BUILT and image and not is_here(docker, name):
            docker.run("tag", image, name)


def is_here(docker: Docker, image: str) -> bool:
    """Return whether this machine has the image."""
    ran = run_command(["docker", "image", "inspect", image], docker.environ)
    if ran.returncode != 0 and "no such image" not in ran.stderr.lower():
        raise explain("docker image", ran.stderr)
    return ran.returncode == 0


def sizes(docker: Docker) -> dict[str, int]:
    """Return the size in bytes of each image that this machine has."""
    here = [image for image in (*BUILT, *FETCHED) if is_here(docker, image)]
    return {image: int(docker.run("image", "inspect", "--format", "{{.Size}}", image)) for image in here}


def export_images(docker: Docker, file: Path) -> int:
    """Build and fetch all images, write them to ``file`` (``docker save``), and return its size in bytes."""
    if not file.parent.is_dir():
        raise InvalidInput(N_("there is no folder {folder}"), folder=str(file.parent))
    build_if_need_be(docker)
    for image in FETCHED:
        if not is_here(docker, image):
            docker.run("pull", "--quiet", image, timeout_s=BUILD_S)
    part = file.with_name(file.name + ".part")
    try:
        tags = (docker.environ["LABKIT_TAG"], LATEST)
        built = [f"{image}:{tag}" for image in BUILT for tag in tags]
        _save(docker, part, [*built, *FETCHED])
        part.replace(file)
        return file.stat().st_size
    except OSError as error:
        raise _cannot_write(file, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):  # a disk that refuses even this is named already
            part.unlink(missing_ok=True)


def _save(docker: Docker, file: Path, images: list[str]) -> None:
    ran = run_command(["docker", "save", "--output", str(file), *images], docker.environ, FILE_S)
    if ran.returncode == 0:
        return
    # Docker writes beside the file, under a name of its own, and then renames it.
    refused = re.search(rf"{re.escape(str(file.parent))}\S*: (.+)", ran.stderr)
    if refused is not None:
        raise _cannot_write(file.with_suffix(""), refused[1].strip())
    raise explain("docker save", ran.stderr + ran.stdout)


def _cannot_write(file: Path, reason: str) -> ClusterError:
    return ClusterError(
        N_("{file} cannot be written: {reason}; make room, or name a file on another disk"),
        file=str(file),
        reason=reason,
    )


def import_images(docker: Docker, file: Path) -> list[str]:
    """Load the images in ``file``; return their names. Raises InvalidInput if the file holds none."""
    if not file.is_file():
        raise InvalidInput(N_("there is no file {file}"), file=str(file))
    ran = run_command(["docker", "load", "--input", str(file)], docker.environ, FILE_S)
    if ran.returncode != 0:
        signs = ("invalid tar", "unexpected EOF", "archive/tar", "manifest.json")
        if any(sign in ran.stderr for sign in signs):
            raise InvalidInput(
                N_(
                    "{file} holds no images, or only a part of them; "
                    "python -m labkit images export writes such a file"
                ),
                file=str(file),
            )
        raise explain("docker load", ran.stderr)
    lines = ran.stdout.splitlines()
    return [line.removeprefix("Loaded image: ") for line in lines if line.startswith("Loaded")]
