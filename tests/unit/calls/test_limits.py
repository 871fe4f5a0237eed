"""Limits come before allocation: what is too large is refused while it is still small in memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import msgpack
import numpy as np
import pytest

from labkit.calls import reader, serialization, tags
from labkit.calls.refusals import TooLarge
from labkit.calls.serialization import decode_value, encode_call, encode_value
from labkit.core.errors import CannotTravel, ProtocolError
from labkit.core.protocol.messages import Payload

MB = 1 << 20

CHILD = """
import resource, sys
import numpy as np
from labkit.calls.serialization import encode_call, encode_value
from labkit.calls.refusals import TooLarge

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

{setup}
before = peak_mb()
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + {most} * (1 << 20), resource.RLIM_INFINITY))
try:
    {call}
except TooLarge as error:
    print(error)
else:
    sys.exit("it was not refused")
grown = peak_mb() - before
sys.exit(f"{{grown}} MB" if grown > {most} else 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of address space")
@pytest.mark.parametrize(
    ("setup", "call", "most"),
    [
        ("v = np.broadcast_to(np.uint8(1), (3 << 30,))", "encode_call('m:f', [v], {})", 30),
        ("v = np.broadcast_to(np.uint8(1), (3 << 30,))", "encode_call('m:f', [], {'k': [v]})", 30),
        ("v = np.broadcast_to(np.uint8(1), (3 << 30,))", "encode_value(v)", 30),
        ("v = np.broadcast_to(np.float64(1), (1 << 14, 1 << 14))[::-1, ::2]", "encode_value({1: v})", 30),
        ("v = [np.ones((1000, 1001), np.uint8)] * 1000", "encode_value(v)", 400),
        ("v = [bytes(1000_000)] * 1000", "encode_value(v)", 400),
        ("v = [bytes(10_000)] * 30_000", "encode_value(v, 32 << 20)", 120),
        ("v = 1 << (8 * (8 << 20))", "encode_value([v] * 40, 32 << 20)", 160),
        ("v = 1 << (8 * (64 << 20))", "encode_value(v, 32 << 20)", 30),
        ("v = 1 << (8 * (64 << 20))", "encode_call('m:f', [v, 1], {}, limit_bytes=32 << 20)", 30),
        ("v = 'a' * (300 << 20)", "encode_call('m:f', [v], {})", 30),
        ("v = chr(0x20AC) * (100 << 20)", "encode_value(v)", 30),
        ("v = {'k' * (100 << 20): 1}", "encode_value([v, v, v], 64 << 20)", 30),
        ("v = [2.5] * (32 << 20)", "encode_value(v)", 30),
        ("v = [1 << 60] * (32 << 20)", "encode_value(v)", 30),
        ("v = [[[0] * 1000] * 1000] * 1000", "encode_value(v, 32 << 20)", 160),
        ("v = [[(0,)] * 1000] * 100_000", "encode_value(v, 16 << 20)", 160),
        ("v = {1: [{2: set(range(1000))}] * 1000}", "encode_value([v] * 1000, 16 << 20)", 120),
        ("v = np.zeros(3 << 30, np.uint8)", "encode_call('m:f', [v], {})", 30),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_copied(setup: str, call: str, most: int) -> None:
    program = textwrap.dedent(CHILD).format(setup=setup, call=call, most=most)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:] + ended.stdout
    assert "bytes can travel" in ended.stdout


def test_what_just_fits_is_accepted() -> None:
    flat = [[1] * 1000, ["ñ"] * 1000, [b"xy"] * 1000, "é" * 20_000, [np.uint8(1)] * 200, [2**80] * 100]
    for value in (*flat, {"k": [None] * 500}, [[2.5, "a", ()]] * 300, [[]] * 400, [{}, [np.zeros(0)]] * 100):
        size = encode_value(value).size
        assert encode_value(value, size).size == size
        assert encode_call("f", [value], {}, limit_bytes=size).size >= size
        with pytest.raises(TooLarge):
            encode_value(value, size // 20)


def test_the_error_names_the_place_and_is_an_error_of_travelling() -> None:
    with pytest.raises(
        TooLarge, match=r"^args\[0\]\['big'\] makes the message too large: 2000\d+ bytes or more"
    ):
        encode_call("m:f", [{"small": 1, "big": np.zeros(2000_000, np.uint8)}], {}, limit_bytes=MB)
    assert issubclass(TooLarge, CannotTravel)


def test_a_large_array_in_the_body_is_copied_once() -> None:
    """Beyond the frames that a message may have, an array goes into the body directly."""
    value = [np.full(20_000, index, np.uint8) for index in range(serialization.MAX_OWN_FRAMES + 3)]
    payload = encode_value(value)
    assert len(payload.frames) == serialization.MAX_OWN_FRAMES
    assert all(np.array_equal(a, b) for a, b in zip(decode_value(payload), value, strict=True))


@pytest.mark.parametrize("empty", [[], {}])
def test_a_reader_refuses_very_many_containers_while_it_reads(
    empty: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list is one byte in a message and sixty in memory."""
    monkeypatch.setattr(reader, "MAX_CONTAINERS", 1000)
    with pytest.raises(ProtocolError, match="more than 1000 lists and dicts"):
        decode_value(Payload(msgpack.packb([0, *[empty] * 5000])))


def test_a_writer_refuses_what_its_reader_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "MAX_CONTAINERS", 1000)
    with pytest.raises(CannotTravel, match="more than 1000 lists and dicts; send NumPy arrays"):
        encode_value([[()]] * 1000)
    assert tags.MAX_CONTAINERS == 1 << 24
