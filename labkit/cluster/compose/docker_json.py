"""The JSON that ``docker inspect`` prints about a container, as types: only the parts that labkit reads."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Probe(TypedDict):
    """One run of a health check."""

    End: str


class Health(TypedDict):
    """The part ``State.Health`` of ``docker inspect``, of containers with a health check."""

    Status: str
    Log: NotRequired[list[Probe] | None]
    """The last few runs, the oldest first."""


class ContainerState(TypedDict):
    """The part ``State`` of ``docker inspect``."""

    Status: str
    Running: bool
    Pid: int
    ExitCode: int
    OOMKilled: bool
    StartedAt: str
    FinishedAt: str
    Health: NotRequired[Health]


class ContainerConfig(TypedDict):
    """The part ``Config`` of ``docker inspect``."""

    Image: str
    Labels: dict[str, str]


class HostConfig(TypedDict):
    """The part ``HostConfig`` of ``docker inspect``."""

    PortBindings: dict[str, list[dict[str, str]]] | None


class Container(TypedDict):
    """One container in the answer of ``docker inspect``."""

    Id: str
    Name: NotRequired[str]
    """With a slash in front: ``/labkit-worker-2-1``."""
    Image: NotRequired[str]
    """The image's id: it works also when the image has lost its name."""
    RestartCount: int
    State: ContainerState
    Config: ContainerConfig
    HostConfig: HostConfig
