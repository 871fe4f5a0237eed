"""``images``: the compose backend's images, for a class without network: build, list, export, import."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from labkit.cli import output
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.cluster.compose import images
from labkit.cluster.compose.docker import Docker
from labkit.cluster.compose.projects import PROJECT
from labkit.core.errors import N_
from labkit.support.i18n import _
from labkit.support.settings import Settings

ACTIONS = ("list", "build", "export", "import")


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "action",
        choices=ACTIONS,
        help=_("list; build outdated images; export to a file; import from a file"),
    )
    parser.add_argument("file", nargs="?", metavar=_("FILE"), help=_("for export and import"))
    parser.examples("images list", "images export lab-images.tar", "images import lab-images.tar")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Carry out the action and return the exit code."""
    if (options.file is None) == (options.action in ("export", "import")):
        raise UsageError(
            N_("images {action}: export and import need a FILE, list and build take none"),
            action=options.action,
        )
    docker = Docker(os.environ.get("COMPOSE_PROJECT_NAME") or PROJECT, os.environ)
    do = {"list": _list, "build": _build, "export": _export, "import": _import}[options.action]
    do(docker, Path(options.file).expanduser() if options.file else Path())
    return 0


def _list(docker: Docker, _file: Path) -> None:
    digest = images.source_digest()
    sizes = images.sizes(docker)
    for image in (*images.BUILT, *images.FETCHED):
        if image not in sizes:
            state = _("not here")
        elif image in images.BUILT and not images.is_here(docker, f"{image}:{digest}"):
            state = _("built from other code")
        else:
            state = _("up to date")
        size = _("{n} MB").format(n=sizes[image] // 10**6) if image in sizes else "-"
        output.line(f"  {image:<16} {size:>8}   {state}")
    output.next_steps(
        ("images build", _("build what is not up to date")),
        ("images export FILE", _("take them to machines without network")),
    )


def _build(docker: Docker, _file: Path) -> None:
    began = time.monotonic()
    if images.build_if_need_be(docker):
        output.line(
            _("The images are built, after {span}.").format(span=output.seconds(time.monotonic() - began))
        )
    else:
        output.line(_("The images are up to date."))


def _export(docker: Docker, file: Path) -> None:
    size = images.export_images(docker, file)
    output.line(_("{file} holds all images: {n} MB.").format(file=file, n=size // 10**6))
    output.next_steps((f"images import {file.name}", _("on the other machine")))


def _import(docker: Docker, file: Path) -> None:
    names = images.import_images(docker, file)
    output.line(_("Imported: {names}.").format(names=", ".join(names)))
    output.next_steps(("up --backend compose", _("start the cluster; nothing is built or fetched")))
