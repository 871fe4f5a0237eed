"""Redis URLs: what they name, what is refused, and that no message shows a password."""

from __future__ import annotations

import pytest

from labkit.core.errors import SettingsError
from labkit.mirror.url import Address, parse_url, without_password


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
