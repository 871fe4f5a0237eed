"""``Panel``: the life cycle of a control panel.

::

    made ──shown, with a frontend──► live ──close(), the cluster is down, a bug──► closed
      └────shown, without one──────► a static view of the moment

Threads:

* Each live panel has one thread, ``labkit-panel``. It polls the cluster twice a second, and it alone sets the
  widgets' values. It ends with the panel, and the panel ends with its cluster.
* Each command runs in a short-lived thread of its own: a polite stop may take ten seconds, and the kernel
  must not wait for it.
* A click only starts a command; it never waits. Frontends deliver clicks between two cells: while a cell
  runs, the panel stays up to date, and the click takes effect when the cell has ended.

A kernel cannot ask whether it has a frontend. One that JupyterLab started for a notebook knows the notebook's
name; one that nbval or nbconvert started does not. Without the name nothing is started, and the notebook
stores the static view. For another frontend that shows widgets: ``cluster.panel(live=True)``.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cluster.status_text import COMMANDS
from labkit.core.errors import N_, ClusterNotRunning, LabkitError
from labkit.panel import page
from labkit.panel.feed import Feed
from labkit.panel.view import Moment, moment_of
from labkit.support.i18n import _, translate_error
from labkit.support.refusals import refusal

if TYPE_CHECKING:
    from labkit.cluster.view import ClusterView
    from labkit.panel.board import Board
    from labkit.panel.load import Load

log = logging.getLogger(__name__)

PERIOD_S = 0.5
MOST_FORMER = 8
CLOSE_S = 5.0
"""Longest wait for the panel's thread, which may itself wait for a broker that does not answer."""
FRONTEND = "JPY_SESSION_NAME"
"""Jupyter's server sets it for the kernel of a notebook that is open in a browser."""


class Pending:
    """A command that is being carried out on one process."""

    def __init__(self, command: str) -> None:
        self.command = command


class Panel:
    """See the module's head. ``Cluster.panel`` returns one."""

    def __init__(self, cluster: ClusterView, live: bool | None = None, work: bool = False) -> None:
        self._cluster = cluster
        self._live = FRONTEND in os.environ if live is None else live
        self._working = work
        self._events = cluster.event_file()
        self._feed = Feed()
        self._load: Load | None = None
        self._board: Board | None = None
        self._former: list[Board] = []
        """Boards that this panel has replaced. They must stop showing that when it ends."""
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # guards the fields below
        self._pending: dict[str, Pending] = {}
        self._said = ""
        self._former_why = ""
        self._end = ""
        """Why the panel is closed; empty while it is not."""
        self._news = threading.Event()

    def replace(self, former: Panel, why: str) -> None:
        """Close a former panel of the same cluster; its view shows ``why`` as long as this one is live."""
        former.close(why)
        self._former_why = _(why)
        boards = [*former._former, *([former._board] if former._board is not None else [])]
        self._former = boards[-MOST_FORMER:]

    # --- display --------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        """Return what a notebook shows: the widgets for a frontend, and the static view without one."""
        try:
            moment = self._moment()
        except LabkitError as error:
            said = translate_error(error)
            return {"text/plain": said, "text/html": page.said_html(said)}
        bundle = {"text/plain": page.text(moment), "text/html": page.static_html(moment)}
        if self._live and not self._end:
            root = self._started(moment).root
            bundle |= root._repr_mimebundle_() or {}
            bundle["text/plain"] = page.text(moment)
        return bundle

    def __repr__(self) -> str:
        try:
            return page.text(self._moment())
        except LabkitError as error:
            return translate_error(error)

    @property
    def is_live(self) -> bool:
        """Whether the panel is shown and kept up to date."""
        return self._thread is not None and self._thread.is_alive() and not self._end

    def _started(self, moment: Moment) -> Board:
        """Return the widgets, and start the thread that updates them."""
        if self._board is None:
            from labkit.panel.board import Board

            self._board = Board(self.command, self.scale, self.work, self._working)
            self._board.show(moment)
            self._board.beat()
            atexit.register(self._kernel_ends)
            self._thread = threading.Thread(target=self._run, name="labkit-panel", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads are allowed: the next display tries again
                self._board = self._thread = None
                raise
        return self._board

    def _moment(self) -> Moment:
        status = self._cluster.status()
        with self._lock:
            self._feed.read(self._events.stream(), time.monotonic(), time.time())
            pending = {name: each.command for name, each in self._pending.items()}
            return moment_of(status, self._feed, time.monotonic(), pending, time.time())

    # --- the user's actions ---------------------------------------------------------------------------------

    def command(self, command: str, name: str) -> None:
        """Begin a command (kill, pause, resume, stop, start) on a process, and return at once.

        The panel shows the result. Each process takes one command at a time, except that a kill may cut a
        polite stop short.
        """
        assert command in COMMANDS, command
        with self._lock:
            present = self._pending.get(name)
            if self._end or (present is not None and (present.command, command) != ("stop", "kill")):
                return
            pending = self._pending[name] = Pending(command)
            self._said = ""
        self._begin(lambda: getattr(self._cluster, command)(name), name, pending)

    def scale(self, workers: int) -> None:
        """Begin to give the cluster ``workers`` workers, and return at once."""
        self._begin(lambda: self._cluster.scale(workers), "", Pending("scale"))

    def work(self, wanted: bool) -> None:
        """Send a steady stream of small tasks from now on, or stop it."""
        self._working = wanted
        self._news.set()

    def _begin(self, do: Callable[[], object], name: str, pending: Pending) -> None:
        threading.Thread(
            target=self._carry_out,
            args=(do, name, pending),
            name=f"labkit-{pending.command}",
            daemon=True,
        ).start()
        self._news.set()

    def _carry_out(self, do: Callable[[], object], name: str, pending: Pending) -> None:
        said = ""
        try:
            do()
        except LabkitError as error:
            said = translate_error(error)
        except Exception as error:
            log.exception("%s %s, asked for by a click", pending.command, name)
            said = _bug_or_refusal(error, _("This is a bug in labkit: {error}"))
        with self._lock:
            if self._pending.get(name) is pending:
                del self._pending[name]
            self._said = said or self._said
        self._news.set()

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        board = self._board
        assert board is not None
        try:
            while not self._end:
                self._refresh(board)
                self._news.wait(PERIOD_S)
                self._news.clear()
        except ClusterNotRunning:
            self._closed_because(_("The cluster of this panel is down."))
        except Exception as error:
            log.exception("the panel's thread")
            text = _("This panel has stopped, because of a bug in labkit: {error}")
            self._closed_because(_bug_or_refusal(error, text))
        finally:
            self._stop_load()
            for each in (*self._former, board):
                each.close(self._end)

    def _refresh(self, board: Board) -> None:
        """Show the present moment. Without an answer of the cluster there is no heartbeat: see ``page``."""
        try:
            moment = self._moment()
        except ClusterNotRunning:
            raise
        except LabkitError as error:
            board.say(translate_error(error))
            return
        board.show(moment)
        board.say(self._said)
        board.beat()
        for former in self._former:
            former.superseded(self._former_why)
        try:
            self._keep_working(moment)
        except ClusterNotRunning:
            raise
        except LabkitError as error:
            board.say(translate_error(error))

    def _keep_working(self, moment: Moment) -> None:
        if not self._working:
            self._stop_load()
            return
        if self._load is None:
            from labkit.panel.load import Load

            self._load = Load(self._cluster)
        if not moment.problem:  # without a broker no task can be sent
            self._load.top_up(moment.workers)

    def _stop_load(self) -> None:
        load, self._load = self._load, None
        if load is not None:
            load.stop()

    # --- the end --------------------------------------------------------------------------------------------

    def _closed_because(self, why: str) -> None:
        with self._lock:
            self._end = self._end or why
        self._news.set()

    def _kernel_ends(self) -> None:
        self.close(N_("The kernel of this panel has ended. Run the notebook from the top."))

    def close(self, why: str = N_("This panel was closed; cluster.panel() shows a new one.")) -> None:
        """End the panel and its thread. The view then shows ``why``, a message.

        The browser keeps showing it, whatever becomes of the kernel: it must stay true.
        """
        self._closed_because(_(why))
        atexit.unregister(self._kernel_ends)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_S)


def _bug_or_refusal(error: Exception, bug: str) -> str:
    """Return what an unexpected error means: what the system has refused, otherwise ``bug`` with its text."""
    if (refused := refusal(error)) is not None:
        return translate_error(refused)
    return bug.format(error=f"{type(error).__name__}: {error}")
