"""``status``: workers, queue, ports and mirror, once, live (``--watch``) or as JSON.

The table joins two views: what the supervisor knows of the processes, and what the broker knows of the
workers. They may disagree: a frozen worker's process still exists after the broker has given it up.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import time
from typing import TYPE_CHECKING, cast

from labkit.cli import attention, output
from labkit.cli.cluster import connected, json_option, name_option
from labkit.cli.parser import Parser
from labkit.cluster import status_text
from labkit.cluster.processes import REDIS
from labkit.cluster.status import ClusterStatus, WorkerRow
from labkit.cluster.status_table import Column, state_cell, table
from labkit.core.errors import N_, ClusterNotRunning, InvalidInput
from labkit.mirror.url import without_password
from labkit.support.i18n import _
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from labkit.cluster import Cluster

WATCH_EVERY_S = 0.5
PIPED_WIDTH = 200


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help=_("live, twice a second, until q or Ctrl-C"))
    json_option(how)  # type: ignore[arg-type]  # a group takes options as a parser does
    name_option(parser)
    parser.examples("status", "status --watch", "status --json")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Show the status; return the exit code. ClusterNotRunning if there is nothing to show."""
    if options.watch and not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise InvalidInput(N_("status --watch needs a terminal; status --json is for programs"))
    try:
        with connected(options, settings) as cluster:
            if options.watch:
                _watch(cluster)
            elif options.json:
                output.as_json({"up": True, **cluster.status()})
            else:
                _print(cluster.status())
    except ClusterNotRunning:
        if options.json:
            output.as_json({"up": False, "cluster": options.name or settings.cluster})
        raise
    return 0


# --- the picture --------------------------------------------------------------------------------------------


def picture(status: ClusterStatus, width: int | None = None) -> RenderableType:
    """Return what people see of ``Cluster.status()``; in ``width`` columns, if that is all there are."""
    from rich.console import Group
    from rich.text import Text

    in_containers = any(worker.get("container") for worker in status["workers"])
    rows = [_row(cast(WorkerRow, worker), in_containers) for worker in status_text.workers_to_show(status)]
    rows += [
        _row({**guest, "process": "running"}, in_containers, _("elsewhere")) for guest in status["guests"]
    ]
    lines = [Text.from_markup(line) for line in (_head(status), *_facts(status), *_marked(status))]
    return Group(lines[0], Text(), table(_columns(in_containers), rows, width), Text(), *lines[1:])


def _columns(in_containers: bool) -> list[Column]:
    return [
        Column(_("worker")),
        *([Column(_("container"), importance=2)] if in_containers else []),
        Column(_("state")),
        Column(_("in flight"), "number", 6),
        Column(_("completed"), "number", 5),
        Column(_("slots"), "number", 1),
        Column(_("serves"), "wraps", 4),
        Column(_("last heartbeat"), importance=3),
        Column("pid", "number", 2),
    ]


def _row(worker: WorkerRow, in_containers: bool, where: str = "") -> list[str | Text]:
    known = worker["status"] not in ("absent", "left", "lost", "no_word")
    # A frozen process keeps its connection: the broker's last numbers of it are worth showing.
    numbers = [str(worker[key]) if known else "-" for key in ("in_flight", "tasks_completed", "slots")]
    serves = ", ".join(worker["capabilities"]) or _("all filters") if known else "-"
    age_s = worker["last_heartbeat_age_s"]
    heard = _("{span} ago").format(span=output.seconds(age_s)) if known and age_s is not None else "-"
    state = state_cell(worker)
    if where:
        state.append(f", {where}")
    container = [worker.get("container") or "-"] if in_containers else []
    return [worker["name"], *container, state, *numbers, serves, heard, str(worker["pid"] or "-")]


def _head(status: ClusterStatus) -> str:
    from rich.markup import escape

    text = status_text.ready_in_words(status)
    if guests := len(status["guests"]):
        text += _(", and {n} from elsewhere").format(n=guests)
    return f"[bold]{escape(status['cluster'])}[/]: {text}"


def _facts(status: ClusterStatus) -> list[str]:
    from rich.markup import escape

    broker = status["broker"]
    url = status.get("api_url")
    api = [] if url is None else [_("HTTP {url}").format(url=escape(f"{url}/"))]
    mirror = _("off") if status["redis_url"] is None else escape(without_password(status["redis_url"]))
    if broker is None:
        return [_("Redis {mirror}").format(mirror=mirror), *api]
    if any(row["name"] == REDIS and row.get("unstarted") for row in status["processes"]):
        mirror = _("never started")  # its port may be that of another program
    elif status["redis_url"] is not None:
        mirror = f"{mirror} ({status_text.mirror_in_words(broker.get('mirror', 'starting'))})"
    return [
        _("queue {queued}   in flight {assigned}   clients {clients}").format(
            queued=broker["queued"], assigned=broker["assigned"], clients=_others(broker["clients"])
        ),
        _("broker {address}   Redis {mirror}").format(address=status["address"], mirror=mirror),
        *api,
    ]


def _others(clients: int) -> int:
    """The clients besides the one that asks."""
    return max(0, clients - 1)


def _marked(status: ClusterStatus) -> list[str]:
    from rich.markup import escape

    return [f"[yellow]{escape(line)}[/]" for line in attention.lines(status)]


def _print(status: ClusterStatus) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    # Into a pipe nothing is wrapped or cut. And rich does not write itself: it would end the process when the
    # reader of a pipe leaves.
    width = shutil.get_terminal_size().columns if terminal else PIPED_WIDTH
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False)
    console.print(picture(status, width))
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]  # it is the StringIO
        print(line.rstrip())


# --- live ---------------------------------------------------------------------------------------------------


def _watch(cluster: Cluster) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from labkit.cli.keyboard import Keys

    console = Console(highlight=False)
    hint = Text(_("q ends"), "dim")
    status = cluster.status()
    try:
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                at = Text(time.strftime("%H:%M:%S"), "dim")
                live.update(Group(at, picture(status, console.width), Text(), hint), refresh=True)
                if "q" in keys.pressed(WATCH_EVERY_S).lower():
                    break
                status = cluster.status()
    except KeyboardInterrupt:
        pass  # the usual way to end it
    except ClusterNotRunning as error:
        raise ClusterNotRunning(
            N_("the cluster {name!r} is down now; python -m labkit up starts it again"), name=cluster.name
        ) from error
    _print(status)
