"""``api``: serves the HTTP side of a cluster that is up, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys

from labkit.cli import output
from labkit.cli.cluster import connected, name_option
from labkit.cli.parser import Parser
from labkit.support.i18n import _
from labkit.support.settings import Settings


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help=_("where to listen (default: 8000 if it is free, else another)"),
    )
    parser.add_argument("--show-token", action="store_true", help=_("print the token for changing something"))
    name_option(parser)
    parser.examples("api", "api --port 8080", "api --show-token")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C, or print the token."""
    with connected(options, settings) as cluster:
        from labkit.gateway.token import token_of

        token = token_of(cluster.credentials.secret)
        if options.show_token:
            output.line(token)
            return 0
        from labkit.gateway.access import Access
        from labkit.gateway.app import build
        from labkit.gateway.gateway import Gateway
        from labkit.gateway.server import bind, serve

        bound = bind("127.0.0.1", options.port)
        gateway = Gateway(cluster, cluster.folder / "api")
        try:
            port = bound.getsockname()[1]

            def ready() -> None:
                output.line(_("The HTTP side of the cluster {name!r}:").format(name=cluster.name))
                output.line()
                output.line(f"  http://localhost:{port}/        " + _("dashboard"))
                output.line(f"  http://localhost:{port}/docs    " + _("all calls, to try out"))
                sys.stdout.flush()

            serve(build(gateway, Access(token)), bound, ready)
        finally:
            gateway.close()
    return 0
