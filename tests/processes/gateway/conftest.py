"""A private cluster with its HTTP side on a free port, for all tests of a module."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from labkit import open_cluster
from labkit.cluster import Cluster
from labkit.gateway.access import Access
from labkit.gateway.app import build
from labkit.gateway.gateway import Gateway
from labkit.gateway.guard import Limits
from labkit.gateway.server import Server, bind
from tests.tools.waiting import wait_until

TOKEN = "s3cret"
SHORT = Limits(body_bytes=4 << 20, patience_s=1.0)


class Side(NamedTuple):
    """The HTTP side under test."""

    url: str
    port: int
    cluster: Cluster
    gateway: Gateway
    http: httpx.Client
    with_token: httpx.Client

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.http.post(path, content=json.dumps(body), headers=headers, **options)


class Running:
    """A gateway that is served in a thread of this process."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        port: int | None = 0,
        limits: Limits = SHORT,
        host: str = "127.0.0.1",
    ) -> None:
        self.bound = bind(host, port)
        self.port = self.bound.getsockname()[1]
        self.gateway = Gateway(cluster, folder)
        self._server = Server(build(self.gateway, Access(TOKEN, open=host == "0.0.0.0"), limits))
        self._thread = threading.Thread(target=self._server.run, args=([self.bound],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, 10.0, "the server")

    def close(self) -> None:
        self._server.stop()
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        self.gateway.close()


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with open_cluster(2) as cluster:
        running = Running(cluster, tmp_path_factory.mktemp("spool"))
        url = f"http://127.0.0.1:{running.port}"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        with (
            httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
            httpx.Client(base_url=url, timeout=60, trust_env=False, headers=bearer) as with_token,
        ):
            yield Side(url, running.port, cluster, running.gateway, http, with_token)
        running.close()
