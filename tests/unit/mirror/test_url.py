"""Redis URLs: what they name, what is refused, and that no message shows a password."""

from __future__ import annotations

import pytest

from labkit.core.errors import SettingsError
from labkit.mirror.redis_client import open_client
from labkit.mirror.url import Address, parse_url, without_password
from labkit.support.redis_url import parse
from labkit.support.settings import Settings


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("redis://127.0.0.1:7000/2", Address("127.0.0.1", 7000, "", 2), "127.0.0.1:7000"),
        ("redis://redis", Address("redis", 6379, "", 0), "redis:6379"),
        ("rediss://ana:p%40ss@host:1", Address("host", 1, "", 0), "host:1"),
        ("redis://:secret@host?db=4", Address("host", 6379, "", 4), "host:6379"),
        ("unix:///run/redis.sock?db=1", Address("localhost", 6379, "/run/redis.sock", 1), "/run/redis.sock"),
    ],
)
def test_a_url_names_an_address(url: str, address: Address, shown: str) -> None:
    assert parse_url(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:6379", "http://host", "redis://host:port", "redis://h/x", "unix://"]
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="no address of a Redis"):
        parse_url(url)


def test_a_refused_url_does_not_repeat_its_password() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_url("redis://ana:secret@host:port")
    assert "secret" not in str(caught.value)


def test_a_password_never_shows_in_a_message() -> None:
    assert without_password("redis://user:s/e@cret@example:6379/0") == "redis://***@example:6379/0"
    assert without_password("redis://127.0.0.1:6379/0") == "redis://127.0.0.1:6379/0"


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h?nonsense=1", "nonsense is unknown"),
        ("redis://h/abc", "database"),
        ("redis://h/0/1", "database"),
        ("redis://h/-1", "database"),
        ("redis://h?db=x", "database"),
        ("redis://h:99999", "port"),
        ("redis://h:0", "port"),
        ("redis://h:port", "port"),
        ("redis://h:1_0", "port"),
        ("redis://[::1", "host"),
        ("redis://h?socket_timeout=1", "socket_timeout is unknown"),
        ("redis://h?ssl_cert_reqs=none", "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "none, optional or required"),
        ("redis://h#x", "%23"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://a b", "spaces"),
        ("redis://h\tx", "control"),
        ("unix://run/redis.sock", "slash"),
        ("unix:///", "no Unix socket"),
        (f"redis://:{SECRET}", "redis://:password@host"),
        (f"redis://ana:{SECRET}/x@h", "%2F"),
        (f"redis://:{SECRET}#x@h", "%23"),
        (f"redis://:{SECRET}@h:port", "port"),
        (f"redis://h?password={SECRET}&nonsense=1", "nonsense"),
        (f"redis://h?{SECRET}", "'?'"),
        (f"unix://ana:{SECRET}@/run/redis.sock?x=1", "x is unknown"),
        (f"rediss:/ana:{SECRET}@h", "begin with"),
        (SECRET, "begin with"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_never_the_password(url: str, says: str) -> None:
    with pytest.raises(SettingsError) as settings_caught:
        Settings.from_environment({"REDIS_URL": url})
    said = str(settings_caught.value)
    assert "REDIS_URL" in said and says in said and SECRET not in said, said
    with pytest.raises(SettingsError):
        parse_url(url)
    assert SECRET not in without_password(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@h",
        f"redis://ana:{SECRET}@h:7000/2",
        f"unix://ana:{SECRET}@/run/redis.sock?db=1",
        f"unix:///run/redis.sock?password={SECRET}",
        f"redis://h?username=ana&password={SECRET}",
        f"rediss://:{SECRET}@[::1]:7000/2?ssl_cert_reqs=none",
    ],
)
def test_each_place_of_a_password_is_hidden_and_used(url: str) -> None:
    shown = without_password(url)
    assert SECRET not in shown and "***@" in shown and "?password" not in shown
    settings = Settings.from_environment({"REDIS_URL": url})
    assert SECRET not in repr(settings)
    assert SECRET not in repr(parse(url)) + str(parse(url)), "also in a traceback that shows values"
    client = open_client(url, 0.1)
    assert client.connection_pool.connection_kwargs["password"] == SECRET


def test_the_client_reads_a_url_as_the_settings_do() -> None:
    options = open_client("redis://127.0.0.1:7000/2", 0.1).connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("127.0.0.1", 7000, 2)
    options = open_client("unix:///run/redis.sock?db=3", 0.1).connection_pool.connection_kwargs
    assert (options["path"], options["db"]) == ("/run/redis.sock", 3)
    with pytest.raises(SettingsError):
        open_client("redis://h/abc", 0.1)
