"""``stress``: offers a planned load to the cluster, live, and ends in a table, one sentence and a chart."""

from __future__ import annotations

import argparse
import http.client
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli.cluster import connected, json_option, name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser, port_number
from labkit.core.errors import N_, BrokerUnreachable, ClusterError
from labkit.load.arrivals import LONGEST_S, MOST_TASKS, PATTERNS, RAMP, Load
from labkit.support.i18n import _
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster
    from labkit.load.generator import Generator
    from labkit.load.planner import Planner
    from labkit.load.targets import Ending, Target

CLIENT, API = "client", "api"
USUAL_PORT = 8000
USUAL = {
    # rate (tasks/s), seconds
    "simple": (10.0, 5.0),
    "burst": (10.0, 8.0),
    "continuous": (10.0, 10.0),
    "sustained": (10.0, 30.0),
    RAMP: (5.0, 4.0),
}
"""What each pattern does unless told otherwise; of a ramp, its first rate, and how long each rate lasts."""
USUAL_BOUND_S = 0.5
ASK_S = 2.0


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "pattern",
        choices=list(PATTERNS),
        help="; ".join(f"{name}: {_(what)}" for name, what in PATTERNS.items()),
    )
    parser.add_argument("--tasks", type=int, metavar="N", help=_("how many tasks; of a ramp, for each rate"))
    parser.add_argument(
        "--rate", type=float, metavar="R", help=_("tasks per second; of a ramp, the first rate")
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help=_("how long tasks arrive; of a ramp, for each rate")
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help=_("the same seed plans the same arrivals (default: 0)"),
    )
    parser.add_argument(
        "--through",
        choices=(CLIENT, API),
        default=CLIENT,
        help=_("client: straight to the broker (default); api: over HTTP, POST /api/process/"),
    )
    parser.add_argument(
        "--port",
        metavar=_("PORT"),
        help=_("where the HTTP side listens (default: the cluster's own, else {port})").format(
            port=USUAL_PORT
        ),
    )
    parser.add_argument(
        "--kill-after", type=float, metavar="S", help=_("after so many seconds, kill a worker that computes")
    )
    parser.add_argument(
        "--bound",
        type=float,
        metavar="S",
        help=_("of a ramp: the p95 of waiting that is still good, in seconds (default: {usual:g})").format(
            usual=USUAL_BOUND_S
        ),
    )
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help=_("draw the figures into this file"))
    json_option(parser)
    name_option(parser)
    parser.examples(
        "stress simple --tasks 100 --rate 20",
        "stress sustained --rate 30 --seconds 20 --kill-after 8 --chart load.png",
        "stress ramp --bound 0.5",
        "stress burst --through api",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Offer the load; return 0, or 1 if a task has no result. Ctrl-C ends it with the figures so far."""
    load = _load(options)
    _check(options, load)
    from labkit.cli import stress_output
    from labkit.load.fault import Fault

    with ExitStack() as stack:
        cluster = stack.enter_context(connected(options, settings))
        generator = _generator(options, cluster)
        stack.callback(generator.close)
        live = stack.enter_context(stress_output.live(shown=not options.json))
        if load.pattern == RAMP:
            search, interrupted = generator.ramp(
                load.rate, _bound(options), partial(_step, options), live.watch
            )
            live.close()
            return stress_output.show_ramp(search, interrupted, options)
        fault = Fault(cluster)
        stack.callback(fault.close)

        def watch(planner: Planner, began: float) -> None:
            fault.load_began = began
            live.watch(planner, began)

        offered = generator.offer(load, kill_after_s=options.kill_after, kill=fault.begin, watch=watch)
        live.close()
        cost = fault.finish()
        return stress_output.show(load, offered, fault, cost, options)


def _load(options: argparse.Namespace) -> Load:
    """Return the load that the options describe. Raises UsageError, InvalidInput."""
    rate, seconds = USUAL[options.pattern]
    given = (options.tasks, options.rate, options.seconds)
    if None not in given:
        raise UsageError(N_("of --tasks, --rate and --seconds two are enough: they decide the third"))
    if options.tasks is not None and options.seconds is not None:
        if not options.seconds > 0:  # NaN is not
            raise UsageError(N_("--seconds {value:g}: more than 0 is expected"), value=options.seconds)
        if options.seconds > LONGEST_S:  # whatever the rate
            Load(options.pattern, 1.0, options.seconds)
        if not 1 <= options.tasks <= MOST_TASKS:  # a rate of so many says nothing
            Load.of_tasks(options.pattern, options.tasks, 1.0)
        return Load.of_tasks(options.pattern, options.tasks, options.tasks / options.seconds, options.seed)
    rate = rate if options.rate is None else options.rate
    if options.tasks is not None:
        return Load.of_tasks(options.pattern, options.tasks, rate, options.seed)
    return Load(options.pattern, rate, seconds if options.seconds is None else options.seconds, options.seed)


def _step(options: argparse.Namespace, rate: float) -> Load:
    """Return the load of one rate of a ramp."""
    if options.tasks is not None:
        return Load.of_tasks(RAMP, options.tasks, rate, options.seed)
    return Load(RAMP, rate, USUAL[RAMP][1] if options.seconds is None else options.seconds, options.seed)


def _bound(options: argparse.Namespace) -> float:
    return USUAL_BOUND_S if options.bound is None else float(options.bound)


def _check(options: argparse.Namespace, load: Load) -> None:
    """Raise UsageError for options that do not go together."""
    if options.bound is not None and load.pattern != RAMP:
        raise UsageError(N_("--bound belongs to the pattern ramp, which searches for a rate"))
    if not 0 < _bound(options) <= 60:
        raise UsageError(
            N_("--bound {value:g}: seconds, more than 0 and at most 60, are expected"), value=options.bound
        )
    if options.port is not None:
        if options.through != API:
            raise UsageError(N_("--port belongs to --through api"))
        port_number("port", options.port)
    if options.kill_after is not None:
        if load.pattern == RAMP:
            raise UsageError(N_("--kill-after and ramp do not go together: a knee needs an unbroken cluster"))
        if not 0 <= options.kill_after < load.seconds:
            raise UsageError(
                N_("--kill-after {value:g}: the load lasts {seconds:.3g} s; the kill has to come before"),
                value=options.kill_after,
                seconds=load.seconds,
            )
    if options.chart is not None:
        if options.chart.suffix.lower() not in (".png", ".svg"):
            raise UsageError(
                N_("--chart {file}: a name that ends in .png or .svg is expected"), file=options.chart
            )
        if not options.chart.absolute().parent.is_dir():
            raise UsageError(N_("--chart {file}: there is no such folder"), file=options.chart)


def _generator(options: argparse.Namespace, cluster: Cluster) -> Generator:
    from labkit.load.generator import Generator
    from labkit.load.targets import ThroughClient, ThroughHttp, picture

    status = cluster.status()
    if status["broker"] is None:
        raise BrokerUnreachable(
            N_("the broker of {name!r} does not answer; python -m labkit status shows what is down"),
            name=cluster.name,
        )
    if not any(row["status"] in ("ready", "busy") for row in (*status["workers"], *status["guests"])):
        raise ClusterError(
            N_("no worker of {name!r} is ready; python -m labkit status shows why"), name=cluster.name
        )

    def make(ended: Callable[[Ending], object]) -> Target:
        if options.through == CLIENT:
            return ThroughClient(cluster.client("stress"), picture(), ended)
        token, port = _api_of(cluster, options.port)
        return ThroughHttp("127.0.0.1", port, token, picture(), ended)

    return Generator(make)


def _api_of(cluster: Cluster, port: str | None) -> tuple[str, int]:
    """Return token and port of the cluster's HTTP side. Raises ClusterError if there is none."""
    token = cluster.api_token()
    usual = (cluster.ports.get("api", USUAL_PORT), USUAL_PORT)
    for number in dict.fromkeys(usual if port is None else (port_number("port", port),)):
        connection = http.client.HTTPConnection("127.0.0.1", number, timeout=ASK_S)
        try:
            # Another cluster's gateway refuses our token.
            connection.request("GET", "/api/health/", headers={"Authorization": f"Bearer {token}"})
            if connection.getresponse().status in (200, 503):
                return token, number
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    raise ClusterError(
        N_("the HTTP side of the cluster {name!r} is not found; python -m labkit api starts it"),
        name=cluster.name,
    )
