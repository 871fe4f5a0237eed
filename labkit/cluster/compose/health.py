"""The health check of the broker's container: asks the broker for its status, as a client.

Run as ``python -m labkit.cluster.compose.health``.
"""

from __future__ import annotations

import sys

from labkit.client.client import Client
from labkit.core.errors import LabkitError
from labkit.security.credentials import of_client
from labkit.support.settings import Settings

PATIENCE_S = 3.0


def main() -> int:
    """Return 0 if the broker answers, otherwise 1 after printing the reason."""
    try:
        settings = Settings.from_environment()
        address = f"tcp://127.0.0.1:{settings.client_port}"
        with Client(address, of_client(settings), name="health", connect_timeout_s=PATIENCE_S) as client:
            status = client.status(PATIENCE_S)
    except LabkitError as error:
        print(error)
        return 1
    print(f"{len(status['workers'])} workers, {status['queued']} queued")
    return 0


if __name__ == "__main__":
    sys.exit(main())
