"""``redis ARGS…``: a redis-cli for the cluster's Redis (``redis_shell``), without installing one.

``--name`` and ``--backend`` are labkit's and stand in front of Redis' own words; behind them they are refused
with the right order. Redis gets every word behind ``--``, whatever it is.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from labkit.cli import output
from labkit.cli.cluster import backend_of, name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.cli.redis_shell import no_advice
from labkit.cli.redis_shell import run as run_shell
from labkit.cluster import connect
from labkit.cluster.open import of_running
from labkit.cluster.processes import REDIS
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.status import recovery_command
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.support.i18n import _
from labkit.support.settings import Settings

EXPECTED = {
    "--name": N_("--name: the name of a cluster is expected"),
    "--backend": N_("--backend: local or compose is expected"),
}
"""Our own options, each with the error for a missing value."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the options: all other words go to Redis."""
    name_option(parser)
    parser.add_argument(
        "words", nargs="*", metavar=_("WORD"), help=_("a Redis command; without one, a prompt opens")
    )
    parser.examples(
        "redis HGETALL workers", "redis LLEN image_tasks", "redis MONITOR", "redis --name second PING"
    )


def run_words(words: list[str], settings: Settings) -> int:
    """Send one command, or prompt; return the exit code."""
    given, left = _options_in_front(words)
    misplaced = None if "--" in words[: len(words) - len(left)] else _option_behind(words, left)
    backend = backend_of(given.get("--name"), settings, given.get("--backend"))
    settings = replace(settings, cluster=given.get("--name", settings.cluster), backend=backend)
    try:
        url = redis_url(settings)
    except ClusterError as error:
        if misplaced is None:
            raise
        raise type(error)(N_("{why}; {misplaced}"), why=error, misplaced=misplaced) from error
    if misplaced is not None:
        raise misplaced  # another cluster's Redis must not get the command
    return run_shell(url, left, lambda: output.as_called(_advice(settings)))


def _options_in_front(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of our options in front of Redis' words, and those words."""
    given: dict[str, str] = {}
    while words:
        option, equals, value = words[0].partition("=")
        if option == "--":
            return given, words[1:]
        if option not in EXPECTED:
            break
        if not equals:
            if len(words) < 2:
                raise UsageError(EXPECTED[option])
            value = words[1]
        given[option] = value
        words = words[1 if equals else 2 :]
    return given, words


def _option_behind(words: list[str], left: list[str]) -> UsageError | None:
    """Return the error if one of our options is among ``left``, the words for Redis; else None."""
    front = words[: len(words) - len(left)]
    for number, word in enumerate(left):
        option, equals, _value = word.partition("=")
        if option not in EXPECTED:
            continue
        end = number + (1 if equals else 2)
        if end > len(left):
            return UsageError(EXPECTED[option])
        ordered = [*front, *left[number:end], *left[:number], *left[end:]]
        return UsageError(
            N_(
                "{option} stands in front of Redis' words: python -m labkit redis {ordered}; behind -- every "
                "word goes to Redis"
            ),
            option=option,
            ordered=shlex.join(ordered),
        )
    return None


def _advice(settings: Settings) -> str:
    """Return the next step that brings the cluster's Redis back."""
    try:
        with connect(settings.cluster, settings) as cluster:
            rows = cluster.status()["processes"]
            command = recovery_command(rows, REDIS)
    except ClusterError:
        return no_advice()
    if not any(row["name"] == REDIS for row in rows):
        return _(
            "the cluster has not started this server (REDIS_URL names it): start it where it runs, or "
            "correct REDIS_URL"
        )
    if command == "up":
        return _("it was never started: python -m labkit up makes it anew")
    if command == "resume":
        return _("it is frozen: python -m labkit resume redis")
    if command == "start":
        return _("it is down: python -m labkit start redis")
    return _("python -m labkit logs redis shows what it printed")


def redis_url(settings: Settings) -> str:
    """Return the URL of the running cluster's Redis; without a cluster, REDIS_URL."""
    if of_running(None, settings) == "compose":
        with connect(settings=settings) as cluster:
            rows = cluster.status()["processes"]
            if any(row["name"] == "redis" and row.get("unstarted") for row in rows):
                # Its port belongs to another program, maybe to a Redis that is not the lab's.
                raise ClusterError(
                    N_("the cluster's Redis was never started; python -m labkit up starts it, at a free port")
                )
            if recovery := recovery_command(rows, "redis"):
                # Another Redis may be listening at its port meanwhile.
                if recovery == "resume":
                    raise ClusterError(N_("the cluster's Redis is frozen; python -m labkit resume redis"))
                raise ClusterError(N_("the cluster's Redis is down; python -m labkit start redis"))
            if cluster.redis_url is not None:
                return cluster.redis_url
    state = RunFolder.of(settings.home, settings.cluster).running()
    url: str | None = settings.redis_url if state is None else state["redis_url"]
    if url is not None:
        return url
    if state is None:
        raise ClusterNotRunning(
            N_(
                "no cluster {name!r} is running, and REDIS_URL names no Redis; "
                "python -m labkit up starts a cluster"
            ),
            name=settings.cluster,
        )
    raise ClusterError(
        N_("the cluster {name!r} runs without Redis; python -m labkit doctor shows why"),
        name=settings.cluster,
    )
