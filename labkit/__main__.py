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
        # A Ctrl-C that meets Python inside an exec or eval of text (while it makes a dataclass, say) leaves a
        # mark in the interpreter: with it, it dies of the signal in the end, whoever has caught the exception
        # and whatever exit code was chosen. The next exec wipes it off (CPython, run_eval_code_obj).
        exec("")


if __name__ == "__main__":
    sys.exit(main())
