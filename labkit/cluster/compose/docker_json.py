"""The JSON that ``docker inspect`` prints about a container, as types: only the parts that labkit reads."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class ContainerState(TypedDict):
    """The part ``State`` of ``docker inspect``."""

    Status: str
    Running: bool
    Pid: int
    ExitCode: int
    OOMKilled: bool
    StartedAt: str
    FinishedAt: str
    Health: NotRequired[dict[str, Any]]


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
    RestartCount: int
    State: ContainerState
    Config: ContainerConfig
    HostConfig: HostConfig
