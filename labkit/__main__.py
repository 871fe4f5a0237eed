"""``python -m labkit``: see ``labkit.cli``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line; after it a second Ctrl-C has nothing left to interrupt."""
    try:
        from labkit.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
