"""For tests of whole clusters: all processes of one, and whether they are gone."""

from __future__ import annotations

from labkit.cluster import Cluster
from labkit.cluster.run_folder import RunFolder
from labkit.support import process_groups

Marks = dict[str, tuple[int, str]]


def marks_of(cluster: Cluster) -> Marks:
    """Every process of the cluster, by number and birth."""
    state = RunFolder(cluster.folder).read_state()
    assert state is not None
    return {name: tuple(mark) for name, mark in state["processes"].items()}


def gone(marks: Marks) -> bool:
    return not any(process_groups.is_alive(*mark) for mark in marks.values())
