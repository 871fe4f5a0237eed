"""The HTTP side as a process of a cluster: ``python -m labkit.gateway``, settings from the environment.

A supervisor or Docker keeps it alive. Exit code 73: its port is taken.
"""

from __future__ import annotations

import logging
import sys

from labkit.cluster.open import connect_from_inside
from labkit.core.errors import BrokerUnreachable, LabkitError, PortInUse
from labkit.core.protocol import exit_codes
from labkit.gateway.serving import bind_for, serve_cluster
from labkit.support import parent_watch
from labkit.support.settings import Settings

log = logging.getLogger("labkit.gateway")


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environment()
        parent_watch.end_with(settings.lifeline)
        with bind_for(settings) as bound:
            port = bound.getsockname()[1]
            while True:
                try:
                    with connect_from_inside(settings) as cluster:
                        serve_cluster(
                            cluster, settings, bound, lambda: print(f"serving on port {port}", flush=True)
                        )
                    return exit_codes.DONE
                except BrokerUnreachable as error:  # each attempt has waited for the broker
                    log.warning("%s; it tries again", error)
    except PortInUse as error:
        log.error("%s", error)
        return exit_codes.PORT_IN_USE
    except LabkitError as error:
        log.error("%s", error)
        return exit_codes.FAILED


if __name__ == "__main__":
    sys.exit(main())
