"""The learner's side of a Redis: a client that tells its commands, and at one of them lets something happen.

``play.py`` of an exercise gives such a client to the learner's functions::

    redis = connect(url)                              a client like any other, replies as text
    redis = connect(url, tell=log, before=moment)     tell("BRPOP tasks 1") before each command,
                                                      then moment(number), counted from 0

A ``before`` that raises Killed is a process that is killed between two commands: it sends nothing more, even
from ``finally``. One that calls something else is another process that is faster. A transaction, a script and
a pipeline are one command.

``Journal`` writes down what really happened, in a database of its own, and holds a task until the judge lets
it go on.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from labkit.calls.serialization import encode_value
from labkit.core.errors import CannotTravel
from labkit.practice.redis_server import JOURNAL, journal_url
from labkit.support.redis_url import parse

MOST_TEXT = 200


class Killed(BaseException):
    """Raised in place of a command by a process that is killed; no learner's ``except Exception`` has it."""


class _Watch:
    """What all connections of one client share: it is one process."""

    def __init__(self, tell: Callable[[str], None], before: Callable[[int], None]) -> None:
        self._tell = tell
        self._before = before
        self._sent = 0
        self._killed = False

    def command(self, line: str) -> None:
        """Let happen what happens before a command, then tell it. Raises Killed if the process is dead."""
        if self._killed:
            raise Killed
        number, self._sent = self._sent, self._sent + 1
        try:
            self._before(number)
        except Killed:
            self._killed = True
            raise
        self._tell(line)


class _Watched(Connection):
    """A connection that asks its watch before it sends a command."""

    def __init__(self, *, watch: _Watch, **options: Any) -> None:
        self._watch = watch
        self._line = ""
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def pack_commands(self, commands: Any) -> Any:
        """Pack a pipeline's commands and remember how they read."""
        commands = list(commands)
        self._line = "; ".join(_line(command) for command in commands)
        return super().pack_commands(commands)  # type: ignore[no-untyped-call]

    def send_command(self, *words: Any, **options: Any) -> None:
        """Send one command."""
        self._line = _line(words)
        super().send_command(*words, **options)  # type: ignore[no-untyped-call]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Ask the watch, then send."""
        self._watch.command(self._line)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def _line(words: Iterable[Any]) -> str:
    return " ".join(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in words)


def connect(
    url: str,
    tell: Callable[[str], None] = lambda _line: None,
    before: Callable[[int], None] = lambda _number: None,
) -> redis.Redis:
    """Return a client whose replies are text. It never gives up waiting: the judge limits each call."""
    pool = redis.ConnectionPool(
        connection_class=_Watched,
        watch=_Watch(tell, before),
        **parse(url).options(),
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,  # so that connecting sends nothing that would be reported as a command
        driver_info=None,
    )
    return redis.Redis.from_pool(pool)


class Journal:
    """What happens in the learner's processes, for the judge; see `labkit.practice.redis_server`."""

    def __init__(self, url: str) -> None:
        self._client = connect(journal_url(url))

    def note(self, *words: Any) -> None:
        """Write an entry; what the learner's code returned may be of any kind."""
        self._client.rpush(JOURNAL, "\t".join(map(str, words)))

    def hold(self, worker: str) -> None:
        """Return when the judge releases this worker."""
        self._client.blpop([f"go {worker}"], timeout=0)

    def has(self, name: str) -> bool:
        """Return whether the judge has released all that wait for ``name``; it stays so."""
        return bool(self._client.exists(f"go {name}"))

    def released(self, worker: str, within_s: float) -> bool:
        """Return whether the judge releases this worker within so many seconds."""
        return self._client.blpop([f"go {worker}"], timeout=within_s) is not None


def fresh(module: ModuleType) -> ModuleType:
    """Return the learner's module as a new process sees it: imported again, with variables of its own."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    assert spec is not None and spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = again
    spec.loader.exec_module(again)
    return again


def plain(answer: Any) -> Any:
    """Return an answer of the learner's as it can travel to the judge: what cannot, as text."""
    try:
        encode_value(answer)
    except CannotTravel:
        return repr(answer)[:MOST_TEXT]
    return answer


def ready(_module: ModuleType) -> bool:
    """Return once the learner's module is imported; play.py lends it to `labkit.practice.crew`."""
    return True
