"""Where the HTTP side listens and who is near: on this machine, and in a container."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.cluster import api_side
from labkit.core.errors import BackendMissing, PortInUse
from labkit.gateway import serving
from labkit.gateway.access import Facts
from labkit.support.settings import Settings

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
IN_CONTAINER = Settings(control=Path("/control"), folder=Path("/cluster"), keys=Path("/keys"))


def test_the_gateway_of_a_container_is_read_from_its_routes() -> None:
    assert serving.gateways(ROUTES) == ["172.18.0.1"]
    assert serving.gateways("Iface\tDestination\tGateway\n") == []


def facts(peer: str, host: str = "localhost:8000") -> Facts:
    return Facts("GET", "/api/health/", host, "", "", peer)


def test_in_a_container_only_its_gateway_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES, encoding="ascii")
    monkeypatch.setattr(serving, "ROUTES", routes)
    cluster: Any = SimpleNamespace(api_token=lambda: "t0ken")
    access = serving.access_of(cluster, IN_CONTAINER)
    assert access.check(facts("172.18.0.1")) is None
    from_the_lab = access.check(facts("172.18.0.5", "api:8000"))
    assert from_the_lab is not None and from_the_lab.status == 401
    rebound = access.check(facts("172.18.0.1", "evil.test"))
    assert rebound is not None and rebound.status == 400


def test_on_a_machine_no_other_address_is_near() -> None:
    cluster: Any = SimpleNamespace(api_token=lambda: "t0ken")
    access = serving.access_of(cluster, Settings())
    assert (access.near, access.names, access.token, access.open) == ((), (), "t0ken", False)
    assert serving.access_of(cluster, Settings(api_host="0.0.0.0")).open


def test_the_port_is_the_settings_unless_a_command_names_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            serving.bind_for(Settings(api_port=port))
        with pytest.raises(PortInUse, match=str(port)):
            serving.bind_for(Settings(), port)
    with serving.bind_for(Settings(api_port=port)) as bound:
        assert bound.getsockname() == ("127.0.0.1", port), "and on loopback only"
    with serving.bind_for(Settings(api_port=port, api_host="0.0.0.0")) as bound:
        assert bound.getsockname() == ("0.0.0.0", port)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    api_side.check_packages()
    monkeypatch.setattr(api_side, "PACKAGES", ("json", "no_such_package"))
    with pytest.raises(BackendMissing, match="no_such_package"):
        api_side.check_packages()


def test_another_program_at_the_port_is_no_http_side_of_a_lab() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.close()
        assert not api_side.answers(port)
