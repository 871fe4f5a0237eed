"""For tests of whole clusters: all processes of a cluster, and whether they have ended."""

from __future__ import annotations

from labkit.cluster import Cluster
from labkit.cluster.run_folder import RunFolder
from labkit.support import process_groups

Marks = dict[str, tuple[int, str]]


def marks_of(cluster: Cluster) -> Marks:
    """Return pid and birth of every process of the cluster, by name."""
    state = RunFolder(cluster.folder).read_state()
    assert state is not None
    return {name: (pid, born) for name, (pid, born) in state["processes"].items()}


def gone(marks: Marks) -> bool:
    """Return whether all these processes have ended."""
    return not any(process_groups.is_alive(*mark) for mark in marks.values())
