"""Who may make which request."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.gateway.access import Access, Facts, host_name

ACCESS = Access("s3cret", names={"lab.example"}, near={"172.18.0.1"})
HERE = "127.0.0.1"
ELSEWHERE = "192.0.2.7"
KILL = "/api/workers/worker-1/kill/"
BATCH = "/api/process-batch/distributed/"


def refused(
    method: str = "GET",
    path: str = "/api/workers/status/",
    *,
    host: str = "localhost:8000",
    origin: str = "",
    authorization: str = "",
    peer: str = HERE,
    site: str = "",
    local: str = "",
    access: Access = ACCESS,
) -> tuple[int, str] | None:
    problem = access.check(Facts(method, path, host, origin, authorization, peer, site, local))
    return None if problem is None else (problem.status, problem.code)


@pytest.mark.parametrize("peer", [HERE, "127.8.9.1", "::1", "::ffff:127.0.0.1", "172.18.0.1"])
def test_reading_is_free_on_loopback(peer: str) -> None:
    assert refused(peer=peer) is None


@pytest.mark.parametrize("path", [BATCH, "/api/process-batch/compare", "/api/process/", "/api/process"])
def test_the_courses_own_calls_are_free_on_loopback(path: str) -> None:
    assert refused("POST", path) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", KILL),
        ("POST", "/api/cluster/scale/"),
        ("DELETE", "/api/batch/ab/"),
        ("POST", "/api/images/"),
        ("POST", "/api/process-batch/distributed/../../workers/worker-1/kill/"),
        ("POST", "/api/process/x"),
        ("PUT", "/api/health/"),
        ("PATCH", "/"),
    ],
)
def test_whatever_changes_something_needs_the_token(method: str, path: str) -> None:
    assert refused(method, path) == (401, "token")
    assert refused(method, path, authorization="Bearer wrong") == (401, "token")
    assert refused(method, path, authorization="Bearer s3cret") is None
    assert refused(method, path, authorization="bearer  s3cret") is None


@pytest.mark.parametrize("authorization", ["Basic s3cret", "s3cret", "Bearer", "Bearer s3cret x", "Bearer ñ"])
def test_nothing_but_the_token_opens(authorization: str) -> None:
    assert refused("POST", KILL, authorization=authorization) == (401, "token")


def test_a_wrong_token_is_refused_even_where_none_is_needed() -> None:
    assert refused(authorization="Bearer wrong") == (401, "token")


@pytest.mark.parametrize("peer", [ELSEWHERE, "172.18.0.2", "10.0.0.1", "fe80::1", "", "nonsense", "unix"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", BATCH), ("POST", "/"), ("DELETE", "/static/page.js"), ("OPTIONS", "/"), ("GET", "/api/"),
     *(("GET", path) for path in ("/api/health/", "/api/dashboard/", "/api/events/", "/metrics", "/static",
      "/api/images/coffee/", "/openapi.json/x", "/docs/x", "/staticx", "//api/health/", "/static/x?y"))],
)  # fmt: skip
def test_any_other_address_needs_the_token_for_whatever_this_cluster_is_or_does(
    peer: str, method: str, path: str
) -> None:
    assert refused(method, path, peer=peer) == (401, "token")
    assert refused(method, path, peer=peer, authorization="Bearer s3cret") is None


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/", "/openapi.json", "/static/bokeh/bokeh.min.js"])
def test_any_browser_may_load_the_page_that_asks_for_the_token(path: str) -> None:
    assert refused("GET", path, peer=ELSEWHERE) is None
    assert refused("HEAD", path, peer=ELSEWHERE) is None
    assert refused("GET", path, peer=ELSEWHERE, authorization="Bearer wrong") == (401, "token")
    assert refused("GET", path, peer=ELSEWHERE, host="evil.test") == (400, "host")
    assert refused("GET", path, peer=ELSEWHERE, origin="http://evil.test") == (403, "origin")


def test_other_machines_may_call_it_by_the_address_that_they_reached_only_if_it_is_open() -> None:
    opened = Access("s3cret", open=True)
    reached: dict[str, Any] = {"peer": ELSEWHERE, "local": "192.0.2.1", "authorization": "Bearer s3cret"}
    for host in ("192.0.2.1:8000", "192.0.2.1"):
        assert refused(host=host, **reached, access=opened) is None
        assert refused(host=host, **reached) == (400, "host")
    for host in ("192.0.2.2:8000", "evil.test", "", "192.0.2.1.evil.test"):
        assert refused(host=host, **reached, access=opened) == (400, "host")
    without = {**reached, "authorization": ""}
    assert refused(host="192.0.2.1:8000", **without, access=opened) == (401, "token")
    assert refused("POST", BATCH, host="192.0.2.1:8000", **without, access=opened) == (401, "token")


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8000", "", "localhost.evil.test", "127.0.0.1.evil.test", "localhost:8000:1",
     "a b", "localhost@evil.test", "[::1].evil.test", "localhost/",
     "xlocalhost", "2130706433", "0.0.0.0:8000"],
)  # fmt: skip
def test_another_host_is_refused_even_with_the_token(host: str) -> None:
    assert refused(host=host) == (400, "host")
    assert refused("POST", KILL, host=host, authorization="Bearer s3cret") == (400, "host")


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:9", "[::1]:8000", "lab.example"])
def test_our_own_names_are_served(host: str) -> None:
    assert refused(host=host) is None


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "http://localhost:3000", "file://", "http://127.0.0.1"]
)
def test_a_foreign_page_is_refused_even_on_loopback(origin: str) -> None:
    assert refused("POST", BATCH, origin=origin) == (403, "origin")
    assert refused("GET", origin=origin) == (403, "origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_without_an_origin_may_not_post(site: str) -> None:
    assert refused("POST", BATCH, site=site) == (403, "origin")
    assert refused("GET", "/", site=site) is None, "a link to the dashboard"


def test_our_own_page_is_served() -> None:
    assert refused("POST", BATCH, origin="http://localhost:8000", site="same-origin") is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("[::1]:80", "[::1]"),
        ("LAB:1", "lab"),
        ("a..b", "a..b"),
        ("a:", ""),
        ("a:123456", ""),
        ("ñ", "ñ"),
        ("a\n", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


def test_a_refusal_says_what_to_do_next() -> None:
    problem = ACCESS.check(Facts("POST", KILL, "localhost", "", "", HERE))
    assert problem is not None
    assert problem.body(KILL) == {
        "type": "urn:labkit:problem:token",
        "title": "A token is needed",
        "status": 401,
        "detail": f"POST {KILL} changes something, so it needs the cluster's token",
        "instance": KILL,
        "field": "Authorization",
        "next": "python -m labkit api --show-token prints it; send the header 'Authorization: Bearer TOKEN'",
    }
    assert problem.headers == {"WWW-Authenticate": 'Bearer realm="labkit"'}


def test_a_foreign_page_without_an_origin_is_called_another_site() -> None:
    problem = ACCESS.check(Facts("POST", BATCH, "localhost:8000", "", "", HERE, "cross-site"))
    assert problem is not None
    assert problem.body()["detail"] == "a page of another site may not use this server"


@pytest.mark.parametrize(("local", "listed"), [("127.0.0.1", False), ("::1", True)])
def test_the_name_of_ipv6_is_listed_only_where_it_works(local: str, listed: bool) -> None:
    problem = ACCESS.check(Facts("GET", "/", "evil.test", "", "", HERE, "", local))
    assert problem is not None
    assert ("[::1]" in problem.body()["allowed"]) is listed
