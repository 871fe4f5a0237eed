"""``lab``: JupyterLab on this machine only, opened at the start page of the course.

* JupyterLab runs in this process, so no second process can be left behind: Ctrl-C ends it and every kernel.
  It listens on 127.0.0.1 and requires a token, new at each start. Messages between it and its kernels are
  encrypted.
* It shows the learner's own copies of the notebooks (``labkit/cli/own_notebooks.py``), never the committed
  files, because JupyterLab saves automatically. ``notebooks/settings`` changes some of its defaults (guides
  open as rendered text; no news from the network).
* The course's own notebooks, and no others in their folder, are trusted as labkit itself is. Otherwise
  JupyterLab would show their stored outputs without style, and a reopened live panel as text.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from labkit.cli import output, own_notebooks
from labkit.cli.commands import UsageError
from labkit.cli.parser import MAX_PORT, Parser, port_number
from labkit.cluster import ports
from labkit.core.errors import N_, LabkitError, PortInUse
from labkit.support.i18n import LANGUAGES, _, language, set_language
from labkit.support.settings import Settings

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
USUAL_PORT, OTHER_PORTS = 8888, 100
COPIES = "course"
"""The folder in LABKIT_HOME for the learner's copies, with one folder per language."""


class CourseMissing(LabkitError):
    """The notebooks are not next to the package labkit."""


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--lang", metavar="LANG", help=_("es or en (default: labkit's language on this machine)")
    )
    parser.add_argument(
        "--port", metavar=_("PORT"), help=_("usually {port}, or the next free one").format(port=USUAL_PORT)
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help=_(
            "begin with fresh copies of the notebooks; the ones you have edited are kept under another name"
        ),
    )
    parser.add_argument("--no-browser", action="store_true", help=_("only print the address"))
    parser.examples("lab", "lab --lang es", "lab --fresh", "lab --no-browser --port 9000")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run JupyterLab until Ctrl-C; return the exit code."""
    if options.lang is not None and options.lang not in LANGUAGES:
        raise UsageError(
            N_("there is no course in {lang!r}; there is one in {known}"),
            lang=options.lang,
            known=", ".join(LANGUAGES),
        )
    asked = None if options.port is None else _asked_port(options.port)
    from jupyterlab.labapp import LabApp  # labkit.cli reports it if the package is missing

    lang = options.lang or language()
    set_language(lang)
    course, copies = ROOT / "notebooks" / lang, settings.home / COPIES
    if not (course / "index.ipynb").is_file():
        raise CourseMissing(N_("the folder notebooks/ is not here; run this in the lab's own folder"))
    made = own_notebooks.make(course, copies / lang, options.fresh)
    start = f"/lab/tree/{lang}/index.ipynb"
    # For the kernels: their language, and the labkit that runs this command.
    os.environ["LABKIT_LANG"] = lang
    # The learner's work/ is the same in a notebook and on the command line.
    os.environ.setdefault("LABKIT_WORK", str(Path.cwd()))
    # IPython runs this file in each kernel; a reader's own startup file has precedence.
    os.environ.setdefault("PYTHONSTARTUP", str(ROOT / "notebooks" / "settings" / "startup.py"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    token = secrets.token_urlsafe(24)
    server = LabApp.initialize_server(_arguments(asked, token, copies, start, browser=not options.no_browser))
    _listen(server, asked)
    trust_the_course(server.contents_manager.notary)
    output.line(
        _("The course is at http://{host}:{port}{start}?token={token}").format(
            host=HOST, port=server.port, start=start, token=token
        )
    )
    _tell(made, copies / lang)
    output.line(_("Ctrl-C ends it and every running notebook; saved work stays."))
    print(end="", flush=True)
    # JupyterLab's own handler asks for confirmation, and without a terminal it leaves the kernels running.
    signal.signal(signal.SIGINT, lambda _number, _frame: server.stop(from_signal=True))
    server.start()
    _leave()
    return 0


def _listen(server: Any, asked: int | None) -> None:
    """Bind the server's port before the address is printed. Raises PortInUse.

    JupyterLab finds a free port, closes it and listens only when its loop starts, a second later. By then
    another program may have taken the port.
    """

    async def a_turn() -> None:
        """Let the loop run the server's own scheduled listen first."""

    async def listen() -> None:
        listener = socket.create_server((server.ip, server.port), backlog=128)
        listener.setblocking(False)
        server.http_server.add_socket(listener)

    try:
        server.io_loop.run_sync(a_turn)
        return
    except SystemExit:  # another program took the port first, and JupyterLab gives up
        others = range(server.port + 1, MAX_PORT + 1)[:OTHER_PORTS] if asked is None else range(0)
    for server.port in others:
        with contextlib.suppress(OSError):  # taken as well, or not permitted
            server.io_loop.run_sync(listen)
            return
    raise _in_use(USUAL_PORT if asked is None else asked)


def _leave(patience_s: float = 2.0) -> None:
    """Wait for the server's threads to end; if they do not, end this process without them.

    A request in progress while the server stops can start a thread (anyio's) that never ends, and Python
    would wait for it forever. By now the kernels have ended and everything saved is on disk.
    """
    until = time.monotonic() + patience_s
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)


def _tell(done: own_notebooks.Copies, folder: Path) -> None:
    """Print where the learner's notebooks are, and which of them differ from the course's current version."""
    output.line(_("You work on your own copies: {folder}").format(folder=folder))
    if done.kept:
        output.line(_("Your earlier versions are kept there as {names}.").format(names=", ".join(done.kept)))
    if done.outdated:
        text = _(
            "There is a newer version of {names}; yours stay as they are. python -m labkit lab "
            "--fresh brings the new ones, and keeps yours under another name."
        )
        output.line(text.format(names=", ".join(done.outdated)))


def trust_the_course(notary: Any) -> None:
    """Sign the course's notebooks, as they are and as a copy has them, so that JupyterLab shows all of it."""
    import nbformat

    for source in (ROOT / "notebooks" / "source").glob("*.py"):
        for path in (ROOT / "notebooks").glob(f"*/{source.stem}.ipynb"):
            with contextlib.suppress(OSError, ValueError):  # JupyterLab reports a broken file itself
                data = path.read_bytes()
                published, copy = (
                    nbformat.reads(each.decode(), as_version=4)
                    for each in (data, own_notebooks.without_outputs(data))
                )
                notary.sign(published)
                if copy != published:
                    notary.sign(copy)


def _arguments(asked: int | None, token: str, shown: Path, start: str, browser: bool) -> list[str]:
    """Return JupyterLab's arguments. They are passed in-process, so the token appears in no process list."""
    return [
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={USUAL_PORT if asked is None else asked}",
        f"--ServerApp.port_retries={OTHER_PORTS if asked is None else 0}",
        f"--ServerApp.root_dir={shown}",
        "--ServerApp.allow_root=True",
        f"--ServerApp.open_browser={browser}",
        "--Application.log_level=ERROR",
        "--LabApp.extension_manager=readonly",
        f"--IdentityProvider.token={token}",
        "--KernelManager.transport_encryption=auto",
        f"--LabApp.default_url={start}",
        f"--LabApp.open_browser={browser}",
        f"--LabApp.app_settings_dir={ROOT / 'notebooks' / 'settings'}",
    ]


def _in_use(port: int) -> PortInUse:
    return PortInUse(
        N_("port {port} of {host} is in use; choose another with --port, or end the program that uses it"),
        port=port,
        host=HOST,
    )


def _asked_port(text: str) -> int:
    port = port_number("port", text)
    reason = ports.obstacle(HOST, port)
    if reason == ports.IN_USE:
        raise _in_use(port)
    if reason is not None:
        raise PortInUse(
            N_("port {port} of {host} cannot be used: {reason}; choose another with --port"),
            port=port,
            host=HOST,
            reason=reason,
        )
    return port
