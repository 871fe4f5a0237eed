"""For tests of whole clusters: all processes of one, and whether they are gone."""

from __future__ import annotations

from labkit.cluster import LocalCluster
from labkit.support import process_groups

Marks = dict[str, tuple[int, str]]


def marks_of(cluster: LocalCluster) -> Marks:
    """Every process of the cluster, by number and birth."""
    state = cluster._run_folder.read_state()
    assert state is not None
    return {name: tuple(mark) for name, mark in state["processes"].items()}


def gone(marks: Marks) -> bool:
    return not any(process_groups.is_alive(*mark) for mark in marks.values())
