"""The same cluster in containers, if this machine can start one right away; otherwise a line with the reason.

::

    with in_containers() as cluster:
        if cluster:
            ...

Building the images takes minutes and a network, too much for the middle of a lesson: they are used only if
they are already built.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.cli import doctor_checks
from labkit.cli.doctor_findings import OK
from labkit.core.errors import LabkitError
from labkit.support.i18n import _, translate_error
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster

PROJECT = "labkit-lesson"


@contextmanager
def in_containers(workers: int = 3) -> Iterator[Cluster | None]:
    """Yield a private cluster of containers, or None after printing the reason.

    In the ``lab`` container it yields the cluster that the container belongs to.
    """
    from labkit.cluster import open_cluster

    cluster: Cluster | None = None
    why = _why_not(Settings.from_environment())
    if not why:
        try:
            cluster = open_cluster(workers, backend="compose")
        except LabkitError as error:
            why = translate_error(error)
    if cluster is None:
        print(_("Skipped, no containers here: {why}").format(why=why))
        print(_("Everything above works without Docker: the same calls, on processes."))
        yield None
        return
    with cluster:
        yield cluster


def _why_not(settings: Settings) -> str:
    """Return why no cluster of containers can be started right away; empty if one can."""
    from labkit.cluster.compose import images
    from labkit.cluster.compose.docker import Docker

    if settings.control is not None:
        return ""  # this code runs inside one
    docker = next(finding for finding in doctor_checks.examine(settings) if finding.topic == "docker")
    if docker.state != OK:
        found = _(docker.found.template).format(**docker.found.params)
        return _("Docker: {found}").format(found=found)
    if not images.are_built(Docker(PROJECT, os.environ), images.source_digest()):
        return _("its images are not built yet; python3 lab.py up --backend compose does that, in minutes")
    return ""
