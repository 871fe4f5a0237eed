"""``broker``: runs a broker, with a mirror in Redis if REDIS_URL is set. A cluster starts this command
itself.

The broker does not know Redis; this module hands it the mirror. After a normal stop the mirror writes an
empty snapshot, so that Redis shows no worker that has gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import broker
from labkit.core.broker.snapshot import Snapshot
from labkit.core.errors import N_, InvalidInput
from labkit.support import parent_watch
from labkit.support.i18n import _
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cli.parser import Parser


def configure(_name: str, parser: Parser) -> None:
    """Describe the environment variables; the command has no options."""
    parser.epilog = _(
        "LABKIT_TOKEN_FILE names the file with the cluster's secret; or LABKIT_KEYS a folder of keys, which "
        "any LABKIT_HOST but 127.0.0.1 needs. LABKIT_HOST, LABKIT_CLIENT_PORT, "
        "LABKIT_WORKER_PORT, LABKIT_EVENT_PORT, LABKIT_FOLDER, LABKIT_POLICY and REDIS_URL are optional. "
        "'python -m labkit up' sets them all."
    )


def run_words(words: list[str], settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    if words:
        raise InvalidInput(
            N_("broker takes no arguments, but got {word!r}; python -m labkit broker --help"), word=words[0]
        )
    parent_watch.end_with(settings.lifeline)
    if settings.redis_url is None:
        return broker.main(settings)
    from labkit.mirror.writer import Mirror

    mirror = Mirror(settings.redis_url)
    mirror.start()
    try:
        code = broker.main(settings, mirror)
        if code == 0:  # one that could not bind would erase the picture of the broker that has its port
            mirror.offer(Snapshot())
        return code
    finally:
        mirror.close()
