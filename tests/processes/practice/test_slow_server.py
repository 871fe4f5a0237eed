"""The slow web server of day 1: it waits, has a limit, serves only its photographs, and ends cleanly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit.imaging.photos import Photo, bundled
from labkit.practice.slow_server import Download, DownloadFailed, SlowServer, fetch, open_slow_server
from labkit.support.timing import Recording, in_threads
from tests.tools.waiting import wait_until


@pytest.fixture
def server() -> Iterator[SlowServer]:
    with open_slow_server(latency_s=0.0) as running:
        yield running


def test_a_photograph_arrives_as_it_is(server: SlowServer) -> None:
    for photo in bundled()[:3]:
        assert fetch(server.url(photo.name)) == photo.bytes()
    assert server.names == [photo.name for photo in bundled()]
    assert [url.rpartition("/")[2] for url in server.urls] == server.names


def test_server_waits_before_it_answers(server: SlowServer) -> None:
    server.latency_s = 0.2
    began = time.monotonic()
    fetch(server.urls[0])
    assert time.monotonic() - began >= 0.2


def test_one_photograph_can_be_slower_than_the_others(server: SlowServer) -> None:
    server.slow_down("coffee", by_s=0.3)
    recording = Recording()
    in_threads(2, recording.of(fetch), [server.url("coffee"), server.url("moon")])
    taken = {span.what: span.end - span.begin for span in recording.spans}
    assert taken["coffee"] >= 0.3 and taken["coffee"] > taken["moon"]
    with pytest.raises(DownloadFailed, match="no photograph called tea"):
        server.slow_down("tea", by_s=1)


def test_server_never_exceeds_its_limit_of_requests() -> None:
    with open_slow_server(latency_s=0.05, at_once=3) as server:
        in_threads(12, fetch, server.urls[:12])
        assert server.most_at_once == 3


def test_many_simultaneous_connections_are_accepted(server: SlowServer) -> None:
    assert len(in_threads(64, fetch, [server.url("text")] * 128)) == 128


@pytest.mark.parametrize("path", ["", "nothing", "../lab.py", "..%2f..%2flab.py", "astronaut/..", "%00"])
def test_names_lead_only_to_photographs(server: SlowServer, path: str) -> None:
    base = server.url("x").removesuffix("x")
    with pytest.raises(DownloadFailed, match="the server answers 404"):
        fetch(base + path)


def test_server_listens_on_this_machine_only(server: SlowServer) -> None:
    assert server.urls[0].startswith("http://127.0.0.1:")


def test_proxy_of_the_environment_is_not_used(server: SlowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(server.urls[0])


def test_a_download_returns_what_fetch_returns(server: SlowServer) -> None:
    assert Download(server.url("coffee")).read() == fetch(server.url("coffee"))
    with pytest.raises(DownloadFailed, match="the server answers 404"):
        Download(server.url("tea")).read()


def test_cancel_ends_a_download_in_another_thread(server: SlowServer) -> None:
    server.latency_s = 60.0
    download = Download(server.url("coffee"))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(download.read)
        wait_until(lambda: server.most_at_once == 1, what="the request at the server")
        download.cancel()
        with pytest.raises(DownloadFailed, match="the read was cancelled"):
            future.result(timeout=10.0)


def test_a_download_that_was_cancelled_before_does_not_begin(server: SlowServer) -> None:
    download = Download(server.url("coffee"))
    download.cancel()
    with pytest.raises(DownloadFailed, match="the read was cancelled"):
        download.read()
    assert server.most_at_once == 0


def test_cancel_after_the_end_does_nothing(server: SlowServer) -> None:
    download = Download(server.url("coffee"))
    data = download.read()
    download.cancel()
    assert data == fetch(server.url("coffee"))


def test_a_download_without_a_server_says_so() -> None:
    with open_slow_server() as closed:
        url = closed.url("coffee")
    with pytest.raises(DownloadFailed, match="no answer"):
        Download(url).read()


def test_slow_download_fails_with_a_timeout(server: SlowServer) -> None:
    server.latency_s = 30.0
    with pytest.raises(DownloadFailed, match="astronaut: no answer"):
        fetch(server.url("astronaut"), timeout_s=0.1)


def test_closing_ends_waits_threads_and_port() -> None:
    server = open_slow_server(latency_s=60.0)
    url = server.url("moon")
    arrived: list[object] = []
    client = threading.Thread(target=lambda: arrived.append(fetch(url)))
    client.start()
    wait_until(lambda: server.most_at_once == 1, what="the request to arrive")
    server.close()
    server.close()
    client.join()
    assert arrived, "requests in progress still get their answer, only sooner"
    assert not [thread for thread in threading.enumerate() if thread.name == "slow-server"]
    with pytest.raises(DownloadFailed, match="is the slow server open"):
        fetch(url)


def test_silent_client_does_not_delay_closing() -> None:
    server = open_slow_server(latency_s=0.0)
    port = int(server.url("x").split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as silent:
        fetch(server.url("moon"))  # by now the earlier, silent connection has been accepted
        closing = threading.Thread(target=server.close)
        closing.start()
        closing.join(timeout=10)
        assert not closing.is_alive()
        assert silent.recv(1) == b""


def test_client_that_disconnects_is_no_error(server: SlowServer, capfd: pytest.CaptureFixture[str]) -> None:
    port = int(server.url("x").split(":")[2].partition("/")[0])
    server.latency_s = 0.1
    for _time in range(3):
        with socket.create_connection(("127.0.0.1", port)) as impatient:
            impatient.sendall(b"GET /retina HTTP/1.0\r\n\r\n")
    wait_until(lambda: server.most_at_once >= 1)
    server.close()
    assert capfd.readouterr() == ("", "")


def test_missing_photograph_is_reported_when_the_server_opens(tmp_path: Path) -> None:
    from labkit.core.errors import ImageError

    with pytest.raises(ImageError, match="does not exist"):
        open_slow_server(pictures=[Photo("gone", tmp_path / "gone.png")])
    assert not [thread for thread in threading.enumerate() if thread.name == "slow-server"]
