"""The command line, ``python -m labkit COMMAND``: every command of the lab, one small module per group.

* ``commands`` is the list of them. Only the chosen one's module is imported, and argparse only where there
  are options to parse: ``python -m labkit broker`` starts as fast as a broker can.
* A command is two functions of its module: ``configure(name, parser)`` declares its options, ``run(options,
  settings)`` does the work and returns the exit code.
* This module turns errors into text for people. A mistake of the user is one line on stderr that names the
  cause and the next step, and so is what the operating system refuses (``labkit.support.refusals``). A
  traceback is a bug in labkit, and the last line states that.

Exit codes: 0 done, 1 failed, 2 usage error (nothing was done), 130 Ctrl-C, 141 the reader of our output has
closed its pipe. ``broker`` adds 73 (a port is taken), ``faults`` adds 3 (every case was inconclusive).
"""

from __future__ import annotations

import importlib.util
import io
import os
import select
import sys
from collections.abc import Sequence

from labkit.cli.commands import OWN_HELP, TAKES_WORDS, find, load
from labkit.cli.output import complain, mean
from labkit.core.errors import N_, ClusterNotRunning, InvalidInput, InvariantBroken, LabkitError
from labkit.core.protocol.exit_codes import DONE, FAILED, INTERRUPTED, NOT_UNDERSTOOD, READER_LEFT
from labkit.support.i18n import _, language, set_language, translate_error
from labkit.support.refusals import refusal

OURS = ("labkit", "workers", "benchmarks")


class PackageMissing(LabkitError):
    """A package of requirements.txt is not installed for the Python that runs this."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_output()
    mean()
    if language() == "es" and importlib.util.find_spec("babel") is None:
        set_language("en")  # without babel there is no catalogue; doctor must still run and report it
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except InvariantBroken as error:
        error.add_note(_bug())
        raise
    except LabkitError as error:
        complain(translate_error(error) + _others(error))
        return NOT_UNDERSTOOD if isinstance(error, InvalidInput) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            _write_no_more()
            return READER_LEFT
        if (refused := refusal(error)) is not None:
            _keep_what_was_printed()
            complain(translate_error(refused))
            return FAILED
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in OURS:
            complain(translate_error(_missing(error.name)))
            return FAILED
        error.add_note(_bug())
        raise


def _run(words: list[str]) -> int:
    if words and not words[0].startswith("-"):
        find(words[0])
        asks_help = words[1:2] in (["-h"], ["--help"]) and words[0] not in OWN_HELP
        if words[0] in TAKES_WORDS and not asks_help:
            from labkit.support.settings import Settings

            code: int = load(words[0]).run_words(words[1:], Settings.from_environment())
            return code
    from labkit.cli.parser import parse

    options = parse(words)
    if options is None:
        return DONE
    from labkit.support.settings import Settings

    code = options.run(options, Settings.from_environment())
    return code


def _others(error: LabkitError) -> str:
    """Return which clusters run, to follow an error that the one asked for does not."""
    if not isinstance(error, ClusterNotRunning):
        return ""
    from labkit.cli.others import others_in_words
    from labkit.support.settings import Settings

    return others_in_words(Settings.from_environment())


def _bug() -> str:
    return _("This is a bug in labkit, not a mistake of yours. Please report it with the lines above.")


def _missing(package: str) -> PackageMissing:
    return PackageMissing(
        N_("{python} lacks the package {package}; python3 lab.py makes an environment that has all of them"),
        python=sys.executable,
        package=package,
    )


def _prepare_output() -> None:
    # The parent process may have closed both streams.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot encode an accent or an arrow shows a question mark instead of failing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _reader_left() -> bool:
    """Return whether the broken pipe is our standard output."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _descriptor, events in poll.poll(0))


def _keep_what_was_printed() -> None:
    """Print what waits to be printed, unless our standard output is what the system refused."""
    try:
        sys.stdout.flush()
    except OSError:
        _write_no_more()


def _write_no_more() -> None:
    """Redirect standard output to the null device, because Python's last flush would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
