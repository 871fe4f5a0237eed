"""The vocabulary: the size of a payload, lists of ids, and which kinds may travel in which direction."""

from __future__ import annotations

import pytest

from labkit.core.errors import ProtocolError
from labkit.core.protocol import messages as m
from labkit.core.protocol.wire import KINDS


def test_payload_size_counts_body_and_frames_of_any_type() -> None:
    frames = (b"123", bytearray(4), memoryview(bytes(8)).cast("d"))
    assert m.Payload(b"12", frames).size == 2 + 3 + 4 + 8
    assert m.Payload(b"12").size == 2
    assert m.EMPTY.size == 0


def test_joined_task_ids_must_have_a_multiple_of_16_bytes() -> None:
    ids = [bytes([i]) * 16 for i in range(3)]
    assert m.task_ids(b"".join(ids)) == ids
    with pytest.raises(ProtocolError):
        m.task_ids(bytes(17))


@pytest.mark.parametrize(
    ("digit", "kinds"), [(1, m.FROM_CLIENT), (2, m.TO_CLIENT), (3, m.FROM_WORKER), (4, m.TO_WORKER)]
)
def test_first_digit_of_a_kind_is_its_direction(digit: int, kinds: frozenset[type]) -> None:
    either_way = {kind.cls for kind in KINDS if kind.number < 0x10}
    assert {kind.cls for kind in KINDS if kind.number >> 4 == digit} == kinds - either_way
