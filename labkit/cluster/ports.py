"""Chooses the ports of a cluster: the usual ones where they are free, otherwise other free ones.

* The commands of the course (``redis-cli LLEN image_tasks``) work word for word on the usual ports, so the
  background cluster takes each of them that is free.
* Other ports are searched for below the range from which systems assign ports by themselves (32768 on Linux,
  49152 elsewhere). So no program is assigned one of them while the broker restarts, and a socket that tries
  to reach a dead broker is never connected to itself. They come in fixed blocks of four, so
  two clusters that choose at the same time collide in all four or in none.
* A port that the user asked for is never replaced: if it is taken, the error names it.
* The HTTP side has a port from a range of its own (``choose_for_api``): 8000, as the course has it, if it is
  free. A cluster works without, so a port that is taken there keeps no cluster from starting.

Another program may take a port between choosing and binding. The broker then ends with exit code 73; if the
user left the choice to labkit, the starter tries again with other ports.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Mapping

from labkit.core.errors import N_, ClusterError, InvalidInput, PortInUse

USUAL: Mapping[str, int] = {"client": 5555, "worker": 5556, "event": 5557, "redis": 6379}
API = "api"
API_USUAL = 8000
VARIABLES: Mapping[str, str] = {name: f"LABKIT_{name.upper()}_PORT" for name in (*USUAL, API)}
"""The environment variable with which the user asks for a port."""

REDIS_HOST = "127.0.0.1"
"""Where Redis listens, whatever the broker's address: it does not authenticate its clients."""

API_HOST = "127.0.0.1"
"""Where the HTTP side listens, whatever the broker's address."""

FIRST, LAST = 20_000, 29_999
API_FIRST, API_LAST = 18_000, 19_999
_ATTEMPTS = 500
IN_USE = "it is in use"


def asked_for(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the ports that the environment names. ``Settings`` has checked their values already."""
    return {
        name: int(text) for name, variable in VARIABLES.items() if (text := environ.get(variable, "").strip())
    }


def choose(host: str, asked: Mapping[str, int], *, usual: bool) -> dict[str, int]:
    """Return a port for each of client, worker and event on ``host``, and for redis on loopback.

    ``asked``: ports by name that the user wants and no others (PortInUse if one is taken, InvalidInput if two
    are equal). ``usual``: prefer the usual ports for the rest. A port asked for the HTTP side is left to it.
    """
    check_distinct({name: (VARIABLES[name], port) for name, port in asked.items()})
    reserved = set(asked.values())
    asked = {name: port for name, port in asked.items() if name != API}
    chosen = dict(asked)
    where = hosts("0.0.0.0" if host == "*" else host)  # sockets do not understand the star
    for name, port in asked.items():
        if (reason := obstacle(where[name], port)) == IN_USE:
            raise PortInUse(
                N_(
                    "port {port} of {host} ({name}) cannot be used: it is in use; "
                    "choose another, or end the program that has it"
                ),
                port=port,
                host=where[name],
                name=name,
            )
        if reason is not None:
            raise PortInUse(
                N_("port {port} of {host} ({name}) cannot be used: {reason}; choose another"),
                port=port,
                host=where[name],
                name=name,
                reason=reason,
            )
    if usual:
        for name, port in USUAL.items():
            if port not in {*chosen.values(), *reserved} and obstacle(where[name], port) is None:
                chosen.setdefault(name, port)
    if len(chosen) < len(USUAL):
        free = _neighbours(where, avoid={*chosen.values(), *reserved})
        for name, port in free.items():
            chosen.setdefault(name, port)
    return {name: chosen[name] for name in USUAL}


def choose_for_api(
    asked: int | None, *, usual: bool = True, avoid: Collection[int] = (), host: str = API_HOST
) -> int:
    """Return a port for the HTTP side, which listens on loopback unless ``host`` says otherwise.

    ``asked``: the one that the user wants and no other; PortInUse if it is taken. Otherwise the usual one if
    ``usual``, and if it is free and not in ``avoid``, or else another.
    """
    if asked is not None:
        if (reason := obstacle(host, asked)) is not None:
            raise PortInUse(
                N_("port {port} of {host} ({name}) cannot be used: {reason}; choose another"),
                port=asked,
                host=host,
                name=API,
                reason=reason,
            )
        return asked
    chance = random.Random()
    candidates: list[int] = [API_USUAL] if usual else []
    candidates += (chance.randint(API_FIRST, API_LAST) for _ in range(_ATTEMPTS))
    for port in candidates:
        if port not in avoid and obstacle(host, port) is None:
            return port
    raise ClusterError(
        N_("no free port was found on {host} between {first} and {last}"),
        host=host,
        first=API_FIRST,
        last=API_LAST,
    )


def check_distinct(asked: Mapping[str, tuple[str, int]]) -> None:
    """Raise InvalidInput if two of the ports asked for are equal.

    ``asked``: by the port's name, how the user asked for it (``--client-port``) and the number.
    """
    named: dict[int, str] = {}
    for how, port in asked.values():
        if port in named:
            raise InvalidInput(
                N_("{one} and {other} are both {port}; each needs a port of its own"),
                one=named[port],
                other=how,
                port=port,
            )
        named[port] = how


def hosts(host: str) -> dict[str, str]:
    """Return the address on which each port listens, in a cluster whose broker is at ``host``."""
    return {name: REDIS_HOST if name == "redis" else host for name in USUAL}


def _neighbours(where: Mapping[str, str], avoid: set[int]) -> dict[str, int]:
    # A generator of its own, seeded by the system: a learner's random.seed(0) must not choose the ports.
    chance = random.Random()
    for _ in range(_ATTEMPTS):
        first = chance.randrange(FIRST, LAST, len(USUAL))
        found = {name: first + i for i, name in enumerate(USUAL)}
        if not avoid.isdisjoint(found.values()):
            continue
        if all(obstacle(where[name], port) is None for name, port in found.items()):
            return found
    raise ClusterError(
        N_("no four free ports in a row were found on {host} between {first} and {last}"),
        host=where["client"],
        first=FIRST,
        last=LAST,
    )


def obstacle(host: str, port: int) -> str | None:
    """Return why ``host``:``port`` cannot be listened on now, or None if it is free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where REUSEADDR shares the port with its owner
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # as libzmq and Redis do: closed connections that linger do not block the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return IN_USE
            return error.strerror or str(error)
    return None
