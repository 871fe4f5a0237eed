"""``redis ARGS…``: redis-cli for the cluster's Redis, without installing it (see ``redis_shell``)."""

from __future__ import annotations

from labkit.cli.parser import Parser
from labkit.cluster.redis_shell import run as run_shell
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.i18n import _
from labkit.settings import Settings


def configure(_name: str, parser: Parser) -> None:
    """Declare the options: all words go to Redis."""
    parser.add_argument(
        "words", nargs="*", metavar=_("WORD"), help=_("a Redis command; without one: a prompt")
    )
    parser.examples("redis HGETALL workers", "redis LLEN image_tasks", "redis MONITOR")


def run_words(words: list[str], settings: Settings) -> int:
    """Send one command, or prompt; return the exit code."""
    return run_shell(redis_url(settings), words)


def redis_url(settings: Settings) -> str:
    """Return where the Redis of the running cluster is; without a cluster, the one that REDIS_URL names."""
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
