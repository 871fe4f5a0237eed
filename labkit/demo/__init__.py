"""``python -m labkit demo``: three workers, one is killed, nothing is lost, each promise is measured.

Reading order::

    batch       the input: real photographs, as many as the demo needs
    reference   the same work in a plain loop, to compare every pixel with
    run         the batch on a cluster; worker-2 is killed while it works, and started again
    progress    where the batch and its workers stand, from the history as it grows
    story       the run in sentences
    view        how it is shown: lines of text, or nothing
    terminal    how it is shown in a terminal: a live display
    targets     the course's promises, measured, with pass or fail
    sheet       pictures before and after, on one page
    report      the files that remain
    verdict     the last screen
    show        the whole demo in order

Nothing heavy is imported before it is needed: ``--help`` is answered at once.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from labkit.support.i18n import _
from labkit.support.setting_values import BACKENDS

if TYPE_CHECKING:
    from labkit.support.settings import Settings

OUT = "labkit-demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the demo's options."""
    parser.add_argument(
        "--photos",
        metavar="FOLDER",
        help=_("photos of your own: PNG, JPEG, WebP, BMP, TIFF, GIF (default: the lab's)"),
    )
    parser.add_argument(
        "--recursive", action="store_true", help=_("read the subfolders of the photos' folder too")
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default=OUT,
        help=_("folder for charts, contact sheet, history and report (default: {folder})").format(folder=OUT),
    )
    parser.add_argument(
        "--workers", type=int, default=3, metavar="N", help=_("how many workers; at least 2 (default: 3)")
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help=_("local (processes) or compose (containers); default: LABKIT_BACKEND, else local"),
    )
    parser.add_argument("--json", action="store_true", help=_("print the report as JSON, and nothing else"))


def main(options: argparse.Namespace, settings: Settings | None = None) -> int:
    """Run the demo and return the exit code: 0 if every target was met, otherwise 1.

    Raises InvalidInput or ImageError for options that cannot be used, before anything is started.
    """
    from labkit.demo.show import show

    return show(options, settings)
