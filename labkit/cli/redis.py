"""``redis ARGS…``: redis-cli for the cluster's Redis, without installing it (see ``redis_shell``).

``--name`` is ours only before the first word; everything from there on is Redis' own.
"""

from __future__ import annotations

from dataclasses import replace

from labkit.cli import say
from labkit.cli.cluster import name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.cluster import connect
from labkit.cluster.backends import of_running
from labkit.cluster.base import way_back
from labkit.cluster.redis_shell import no_advice
from labkit.cluster.redis_shell import run as run_shell
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.i18n import _
from labkit.settings import Settings


def configure(_name: str, parser: Parser) -> None:
    """Declare the options: all words but ours go to Redis."""
    name_option(parser)
    parser.add_argument(
        "words", nargs="*", metavar=_("WORD"), help=_("a Redis command; without one: a prompt")
    )
    parser.examples(
        "redis HGETALL workers", "redis LLEN image_tasks", "redis MONITOR", "redis --name second PING"
    )


def run_words(words: list[str], settings: Settings) -> int:
    """Send one command, or prompt; return the exit code."""
    name, words = _name_in_front(words)
    if name is not None:
        settings = replace(settings, cluster=name)
    option = "" if name is None else f" --name {name}"
    return run_shell(redis_url(settings), words, lambda: say.as_called(_advice(settings, option)))


def _name_in_front(words: list[str]) -> tuple[str | None, list[str]]:
    """Return the name that ``--name`` gives in front of Redis' words, or None, and those words."""
    option, equals, name = words[0].partition("=") if words else ("", "", "")
    if option != "--name":
        return None, words
    if equals:
        return name, words[1:]
    if len(words) < 2:
        raise UsageError(N_("--name: the name of a cluster is expected"))
    return words[1], words[2:]


def _advice(settings: Settings, option: str) -> str:
    """Return what brings back the Redis of the cluster, if it is down by command."""
    try:
        with connect(settings.cluster, settings) as cluster:
            command = way_back(cluster.status()["processes"], "redis")
    except ClusterError:
        return no_advice()
    if command == "resume":
        return _("it is frozen: python -m labkit resume redis{option}").format(option=option)
    if command == "start":
        return _("it is down: python -m labkit start redis{option}").format(option=option)
    return _("python -m labkit logs redis{option} shows what it printed").format(option=option)


def redis_url(settings: Settings) -> str:
    """Return where the Redis of the running cluster is; without a cluster, the one that REDIS_URL names."""
    if of_running(None, settings) == "compose":
        with connect(settings=settings) as cluster:
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
        N_("the cluster {name!r} runs without Redis; python -m labkit doctor says why"), name=settings.cluster
    )
