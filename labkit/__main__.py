"""``python -m labkit``: see ``labkit.cli``."""

from __future__ import annotations

import errno
import signal
import sys


def main() -> int:
    """Run the command line and return its exit code. Afterwards Ctrl-C is ignored, while Python ends."""
    try:
        from labkit.support import utf8

        utf8.start_again_if_needed()
        from labkit.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # Not even a module can be loaded any more, so this is all the text there is.
        sys.stderr.write("This program may open too few files: raise the limit (ulimit -n).\n")
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A Ctrl-C inside an exec or eval of text (while a dataclass is made, for example) sets a flag in the
        # interpreter. With that flag the process dies of the signal at exit, although the exception was
        # caught and an exit code chosen. The next exec clears it (CPython, run_eval_code_obj).
        exec("")


if __name__ == "__main__":
    sys.exit(main())
