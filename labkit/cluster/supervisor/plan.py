"""The plan of a local cluster as types: what ``labkit.cluster.local.plan`` makes and the supervisor reads."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from labkit.cluster.run_folder import About


class Part(TypedDict):
    """One process: its command, and the variables that are added to the supervisor's environment."""

    command: list[str]
    environment: dict[str, str]


class WorkerPart(Part):
    """What all workers have in common."""

    own: dict[str, dict[str, str]]
    """More variables, by worker."""


class Plan(TypedDict):
    """Everything that the supervisor needs to know, as JSON."""

    folder: str
    private: bool
    workers: int
    drain_s: float
    broker: Part
    redis: Part | None
    worker: WorkerPart
    api: NotRequired[Part]
    """The HTTP side, if there is one."""
    about: About
