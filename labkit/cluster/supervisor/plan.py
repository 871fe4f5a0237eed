"""The plan of a local cluster as types: what ``labkit.cluster.local.plan`` makes and the supervisor reads."""

from __future__ import annotations

from typing import TypedDict


class Part(TypedDict):
    """One process: its command, and the variables that are added to the supervisor's environment."""

    command: list[str]
    environment: dict[str, str]


class WorkerPart(Part):
    """What all workers have in common."""

    own: dict[str, dict[str, str]]
    """More variables, by worker."""


class About(TypedDict):
    """What the supervisor copies into ``cluster.json`` for the cluster's users."""

    name: str
    backend: str
    ports: dict[str, int]
    address: str
    event_address: str
    redis_url: str | None
    keys: str | None
    """The folder of CURVE keys; None: the cluster's secret opens the broker."""
    policy: str
    started: float
    """Seconds since 1970."""
    private: bool
    drain_s: float


class Plan(TypedDict):
    """Everything that the supervisor needs to know, as JSON."""

    folder: str
    private: bool
    workers: int
    drain_s: float
    broker: Part
    redis: Part | None
    worker: WorkerPart
    about: About
