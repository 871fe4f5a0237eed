"""Names the running clusters, for the error about one that does not run."""

from __future__ import annotations

from labkit.cli import output
from labkit.cluster.compose import projects
from labkit.cluster.run_folder import running_clusters
from labkit.support.i18n import _
from labkit.support.settings import Settings


def others_in_words(settings: Settings) -> str:
    """Return which clusters run and the options that name each, to follow an error; "" if none does."""
    local = " --backend local" if "--backend" in output.with_cluster("status") else ""
    found = [f"--name {name}{local}" for name in running_clusters(settings.home)]
    found += [
        f"--name {projects.cluster_of(each.name, settings.home)} --backend compose"
        for each in projects.running()
    ]
    return _("; running: {clusters}").format(clusters=", ".join(found)) if found else ""
