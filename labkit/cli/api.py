"""``api``: serves the HTTP side of a cluster that has none, until Ctrl-C; otherwise says where it listens."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.cluster import connected, name_option
from labkit.cli.parser import Parser, port_number
from labkit.cluster.api_side import check_packages, link_for_others
from labkit.cluster.ports import API_HOST
from labkit.core.errors import N_, ClusterError
from labkit.support.i18n import _
from labkit.support.setting_values import API_HOSTS
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--port",
        metavar=_("PORT"),
        help=_("where to listen (default: 8000 if it is free, else another)"),
    )
    parser.add_argument(
        "--host",
        choices=API_HOSTS,
        help=_("0.0.0.0: other machines reach it too, with the token (default: 127.0.0.1)"),
    )
    parser.add_argument("--show-token", action="store_true", help=_("print the token for changing something"))
    name_option(parser)
    parser.examples("api", "api --port 8080", "api --host 0.0.0.0", "api --show-token")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C, or print the token, or where a cluster that has an HTTP side serves it."""
    port = None if options.port is None else port_number("port", options.port)
    if options.host is not None:
        settings = replace(settings, api_host=options.host)
    with connected(options, settings) as cluster:
        if options.show_token:
            output.line(cluster.api_token())
        elif cluster.api_url is None:
            _serve(cluster, settings, port)
        else:
            _show_running(cluster, port, options.host)
    return 0


def _serve(cluster: Cluster, settings: Settings, port: int | None) -> None:
    check_packages()
    from labkit.gateway.serving import bind_for, serve_cluster

    with bind_for(settings, port) as bound:
        url = f"http://localhost:{bound.getsockname()[1]}"

        def ready() -> None:
            output.line(_("The HTTP side of the cluster {name!r}, until Ctrl-C:").format(name=cluster.name))
            is_open = settings.api_host != API_HOST
            _show(url, link_for_others(bound.getsockname()[1], cluster.api_token()) if is_open else None)
            sys.stdout.flush()

        serve_cluster(cluster, settings, bound, ready)


def _show_running(cluster: Cluster, port: int | None, host: str | None) -> None:
    """Say where the cluster's own HTTP side is. Raises ClusterError if it is down, or listens elsewhere."""
    if host not in (None, API_HOST) and cluster.api_link_for_others() is None:
        raise ClusterError(
            N_(
                "the HTTP side of the cluster {name!r} listens for this machine alone; python -m labkit down "
                "ends the cluster, then 'up --api-host {wanted}' starts it for others, too"
            ),
            name=cluster.name,
            wanted=host,
        )
    if port not in (None, cluster.ports["api"]):
        raise ClusterError(
            N_(
                "the HTTP side of the cluster {name!r} has the port {port}; python -m labkit down ends the "
                "cluster, then 'up --api-port {wanted}' starts it with another"
            ),
            name=cluster.name,
            port=cluster.ports["api"],
            wanted=port,
        )
    cluster.wait_for_api()
    assert cluster.api_url is not None
    output.line(_("The HTTP side of the cluster {name!r} is up already:").format(name=cluster.name))
    _show(cluster.api_url, cluster.api_link_for_others())
    output.next_steps(
        ("api --show-token", _("the token for changing something")), ("logs api", _("what it printed"))
    )


def _show(url: str, for_others: str | None) -> None:
    output.line()
    output.line(f"  {url}/        " + _("dashboard"))
    output.line(f"  {url}/docs    " + _("all calls, to try out"))
    if for_others is not None:
        output.line()
        output.line("  " + _("from another machine, with the token:"))
        output.line(f"  {for_others}")
