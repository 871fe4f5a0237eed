"""Finds the name of the container that this process runs in, as ``docker ps`` shows it.

A container knows only its id (its host name). But on a network of Docker's, the DNS server in each container
knows the names: asked for the name of an address (PTR), it answers ``labkit-worker-2.labkit_work``, the
container's name and the network's. The resolver of the system cannot be asked instead: it finds the id in
``/etc/hosts`` first.
"""

from __future__ import annotations

import secrets
import socket
import struct

DNS = ("127.0.0.11", 53)
ANSWER_S = 1.0
ATTEMPTS = 3
"""Datagrams may be lost."""
MAX_BYTES = 512

_HEADER = struct.Struct(">HHHHHH")
_PTR, _INTERNET, _RECURSION = 12, 1, 0x0100


def own_name() -> str:
    """Return the name of this process's container, or "" outside of Docker's networks."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
    number = secrets.randbits(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_S)
        for _attempt in range(ATTEMPTS):
            try:
                asking.connect(DNS)
                asking.send(question(number, address))
                return container_of(name_in(asking.recv(MAX_BYTES), number))
            except TimeoutError:
                continue
            except OSError:
                return ""  # there is no such server here
    return ""


def question(number: int, address: str) -> bytes:
    """Return a DNS query with this number for the name of an IPv4 address."""
    name = [*reversed(address.split(".")), "in-addr", "arpa"]
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name)
    return _HEADER.pack(number, _RECURSION, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", _PTR, _INTERNET)


def name_in(answer: bytes, number: int) -> str:
    """Return the name in the first PTR record of the answer to query ``number``; "" if there is none."""
    try:
        answered, _flags, questions, answers, _servers, _more = _HEADER.unpack_from(answer)
        if answered != number:
            return ""
        at = _HEADER.size
        for _ in range(questions):
            at = _labels(answer, at)[1] + 4
        for _ in range(answers):
            at = _labels(answer, at)[1]
            kind, _class, _ttl, length = struct.unpack_from(">HHIH", answer, at)
            at += 10
            if kind == _PTR:
                return ".".join(_labels(answer, at)[0])
            at += length
    except (IndexError, struct.error, UnicodeDecodeError):
        pass  # no DNS answer
    return ""


def container_of(name: str) -> str:
    """Return the container in ``CONTAINER.NETWORK``; only the container's name may contain a dot."""
    return name.rpartition(".")[0]


def _labels(data: bytes, at: int) -> tuple[list[str], int]:
    """Return the labels of the name at this offset, and the offset behind it."""
    labels: list[str] = []
    end = None
    for _ in range(len(data)):  # a pointer may point to itself
        length = data[at]
        if length & 0xC0 == 0xC0:
            end = at + 2 if end is None else end
            at = (length & 0x3F) << 8 | data[at + 1]
        elif length:
            labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        else:
            return labels, at + 1 if end is None else end
    raise IndexError("a name without an end")
