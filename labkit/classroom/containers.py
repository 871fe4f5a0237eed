"""The same cluster in containers, where this machine can have one; a plain word where it cannot.

::

    with in_containers() as cluster:
        if cluster:
            ...
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit import doctor
from labkit.core.errors import LabkitError
from labkit.i18n import _, translate_error
from labkit.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster


@contextmanager
def in_containers(workers: int = 3) -> Iterator[Cluster | None]:
    """Yield a private cluster of containers, or None after one line that says why there is none."""
    cluster: Cluster | None = None
    why = _why_not()
    if not why:
        try:
            cluster = _open(workers)
        except LabkitError as error:
            why = translate_error(error)
    if cluster is None:
        print(_("Skipped, no containers here: {why}").format(why=why))
        print(_("Everything above works without Docker: the same calls, on processes."))
        yield None
        return
    with cluster:
        yield cluster


def _open(workers: int) -> Cluster:
    from labkit.cluster import open_cluster

    open_any: Any = open_cluster
    opened: Cluster = open_any(workers, backend="compose")
    return opened


def _why_not() -> str:
    from labkit.cluster import open_cluster

    findings = doctor.examine(Settings.from_environment())
    docker = next(finding for finding in findings if finding.topic == "docker")
    if docker.state != doctor.OK:
        found = _(docker.found.template).format(**docker.found.params)
        return _("Docker: {found}").format(found=found)
    if "backend" not in inspect.signature(open_cluster).parameters:
        return _("this version of the lab has no containers yet")
    return ""
