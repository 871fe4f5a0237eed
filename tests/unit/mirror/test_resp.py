"""Redis' wire protocol read from bytes, and the URLs that name a Redis."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.errors import ProtocolError, SettingsError
from labkit.mirror.resp import Address, ErrorReply, Reply, Status, pack, parse_url, read_reply


def read(data: bytes) -> Reply:
    return read_reply(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"+OK\r\n", Status(b"OK")),
        (b"-ERR no\r\n", ErrorReply("ERR no")),
        (b":-3\r\n", -3),
        (b"$5\r\nhe\r\nl\r\n", b"he\r\nl"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*0\r\n", []),
        (b"*2\r\n:1\r\n*2\r\n$1\r\na\r\n-ERR x\r\n", [1, [b"a", ErrorReply("ERR x")]]),
    ],
)
def test_each_kind_of_reply_is_read(data: bytes, reply: Reply) -> None:
    assert read(data) == reply


def test_a_status_is_told_from_a_string_with_the_same_letters() -> None:
    assert isinstance(read(b"+OK\r\n"), Status)
    assert not isinstance(read(b"$2\r\nOK\r\n"), Status)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"+OK\n",
        b"$abc\r\n",
        b"$-7\r\n",
        b"*999999999999\r\n",
        b"*1\r\n" * 5000,
        b"+" + b"x" * 100_000,
    ],
)
def test_what_is_no_redis_is_named_as_such(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="no Redis"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"$5\r\nhe", b"*2\r\n:1\r\n"])
def test_a_connection_that_ends_early_is_a_lost_connection(data: bytes) -> None:
    with pytest.raises(ConnectionError):
        read(data)


@given(st.binary(max_size=40))
def test_random_bytes_give_a_reply_or_a_named_error(data: bytes) -> None:
    try:
        read(data)
    except (ProtocolError, ConnectionError):
        pass


@given(st.lists(st.binary(max_size=20), min_size=1))
def test_a_request_is_an_array_of_strings_whatever_they_contain(words: list[bytes]) -> None:
    assert read(pack(words)) == words


def test_text_travels_as_utf8() -> None:
    assert pack(["SET", "año"]) == b"*2\r\n$3\r\nSET\r\n$4\r\na\xc3\xb1o\r\n"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1:7000/2", Address("127.0.0.1", 7000, "", False, "", "", 2)),
        ("redis://redis", Address("redis", 6379, "", False, "", "", 0)),
        ("rediss://ana:p%40ss@host:1", Address("host", 1, "", True, "ana", "p@ss", 0)),
        ("redis://:secret@host?db=4", Address("host", 6379, "", False, "", "secret", 4)),
        ("unix:///run/redis.sock?db=1", Address("localhost", 6379, "/run/redis.sock", False, "", "", 1)),
    ],
)
def test_a_url_names_an_address(url: str, address: Address) -> None:
    assert parse_url(url) == address


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
