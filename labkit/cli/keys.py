"""``keys``: makes, lists, exports, imports and removes the CURVE keys of a cluster.

The files and their meaning: ``labkit.security.key_store``. The folder is LABKIT_KEYS, or ``keys`` in
LABKIT_HOME.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from labkit.cli import output
from labkit.cli.parser import Parser
from labkit.core.errors import N_, InvalidInput
from labkit.security.key_store import (
    BROKER,
    CLIENT,
    LOCAL,
    PUBLIC,
    ROLES,
    SECRET,
    WORKER,
    Grant,
    KeyFolder,
    new_pair,
    read_certificate,
)
from labkit.support.i18n import _, translate_error
from labkit.support.settings import Settings


class AdmittedKey(TypedDict):
    """One key on the list, as ``keys list --json`` prints it; ``key`` is the public key in Z85."""

    role: str
    name: str
    key: str
    secret_here: bool
    ids: list[str]


def configure(_name: str, parser: Parser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar=_("ACTION"))

    def action(name: str, help_: str) -> Parser:
        added: Parser = actions.add_parser(name, help=help_, description=help_)
        added.add_argument("--json", action="store_true", help=_("print JSON"))
        return added

    action("make", _("make the broker's keys, and the keys for its own machine"))
    action("list", _("show the keys on the list, and the secrets in this folder"))
    add = action("add", _("make a key pair for one more client or worker"))
    _role_and_name(add)
    add.add_argument(
        "--ids",
        metavar="PATTERN",
        help=_("ids that a worker with this key may have, like lab-2 or pool-*; otherwise the key's name"),
    )
    give = action(
        "give", _("write the files for one client or worker into a folder, to carry to its machine")
    )
    _role_and_name(give)
    give.add_argument("folder", metavar=_("FOLDER"), type=Path)
    remove = action("remove", _("take a key off the list, and delete it"))
    _role_and_name(remove)
    take = action("import", _("copy keys that came from another machine"))
    take.add_argument("folder", metavar=_("FOLDER"), type=Path)
    action("import-compose", _("copy this machine's keys out of the cluster in containers"))
    parser.examples(
        "keys make",
        "keys list",
        "keys add worker lab-2",
        "keys add worker pool --ids 'pool-*'",
        "keys give worker lab-2 for-lab-2",
        "keys import for-lab-2",
        "keys remove worker lab-2",
    )


def _role_and_name(parser: Parser) -> None:
    parser.add_argument("role", choices=ROLES, metavar="client|worker")
    parser.add_argument("name", metavar=_("NAME"))


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run the chosen action; return the exit code."""
    folder = KeyFolder(settings.keys or settings.home / "keys")
    if options.action == "import-compose":
        _import_compose(folder, options, settings)
    else:
        ACTIONS[options.action](folder, options)
    return 0


def _make(folder: KeyFolder, options: argparse.Namespace) -> None:
    made = [folder.add(BROKER, BROKER, new_pair())]
    # For a cluster on the broker's machine: its client, and its workers, called worker-1, worker-2 ...
    made.append(folder.add(CLIENT, LOCAL, new_pair()))
    made.append(folder.add(WORKER, LOCAL, new_pair(), ["worker-*"]))
    _print_made(folder, made, options)
    if not options.json:
        output.next_steps(
            ("keys add worker lab-2", _("admit a worker on another machine")),
            ("keys list", _("list the admitted keys")),
        )
        output.line()
        output.line(
            _(
                "With LABKIT_KEYS={folder} and LABKIT_HOST=0.0.0.0, 'python -m labkit up' is open to other "
                "machines, but only to holders of a key on the list."
            ).format(folder=folder.path)
        )


def _add(folder: KeyFolder, options: argparse.Namespace) -> None:
    folder.broker_public()  # raises if there is no broker's key: this one would be of no use
    ids = _ids(options)
    made = folder.add(options.role, options.name, new_pair(), ids)
    _print_made(folder, [made], options)
    if not options.json:
        output.line(_("A running broker admits it at once."))
        output.next_steps(
            (
                f"keys give {options.role} {options.name} for-{options.name}",
                _("write the files for that machine into a folder"),
            )
        )


def _ids(options: argparse.Namespace) -> list[str]:
    if options.ids is None:
        return []
    if options.role != WORKER:
        raise InvalidInput(N_("--ids is for workers; a client has no id that could be checked"))
    return [one for part in options.ids.split(",") if (one := part.strip())]


def _give(folder: KeyFolder, options: argparse.Namespace) -> None:
    written = folder.give_out(options.role, options.name, options.folder)
    if options.json:
        output.as_json({"written": [str(path) for path in written]})
        return
    _print_files(
        _("The files for {name} are in {folder}:"), written, name=options.name, folder=options.folder
    )
    output.line(
        _(
            "It holds a secret: carry it there safely and delete it here. On that machine: "
            "python -m labkit keys import {folder}"
        ).format(folder=options.folder.name)
    )


def _import(folder: KeyFolder, options: argparse.Namespace) -> None:
    _print_copied(folder, folder.take_in(options.folder), options)


def _import_compose(folder: KeyFolder, options: argparse.Namespace, settings: Settings) -> None:
    from labkit.cluster.compose.keys import import_to
    from labkit.cluster.compose.start import docker_of

    _print_copied(folder, import_to(docker_of(settings), folder.path), options)


def _print_copied(folder: KeyFolder, written: list[Path], options: argparse.Namespace) -> None:
    if options.json:
        output.as_json({"folder": str(folder.path), "written": [str(path) for path in written]})
    elif written:
        _print_files(_("Copied into {folder}:"), written, folder=folder.path)
        output.line(_("A process uses them if LABKIT_KEYS={folder} is set.").format(folder=folder.path))
    else:
        output.line(_("Nothing to copy: all of it is in {folder} already.").format(folder=folder.path))


def _remove(folder: KeyFolder, options: argparse.Namespace) -> None:
    removed = folder.remove(options.role, options.name)
    if options.json:
        output.as_json({"removed": [str(path) for path in removed]})
        return
    _print_files(_("Removed:"), removed)
    output.line(_("A running broker disconnects its users within a second or two."))


def _list(folder: KeyFolder, options: argparse.Namespace) -> None:
    grants, wrong = folder.grants()
    broker = folder.file(BROKER, "", PUBLIC)
    rows: list[AdmittedKey] = [
        {
            "role": grant.role,
            "name": grant.name,
            "key": key,
            "secret_here": _has_secret(folder, grant),
            "ids": list(grant.ids) if grant.role == WORKER else [],
        }
        for (_role, key), grant in sorted(grants.items(), key=lambda item: (item[1].role, item[1].name))
    ]
    own_key = read_certificate(broker).public if broker.exists() else None
    if options.json:
        output.as_json(
            {
                "folder": str(folder.path),
                "broker": own_key,
                "broker_secret_here": folder.file(BROKER, "", SECRET).exists(),
                "admitted": rows,
                "secrets": [str(path) for path in folder.secret_files()],
                "exposed": [str(path) for path in folder.exposed()],
                "wrong": [translate_error(error) for error in wrong],
            }
        )
        return
    output.line(_("folder  {folder}").format(folder=folder.path))
    if own_key is None:
        output.line(_("There are no broker keys yet; python -m labkit keys make"))
    else:
        output.line(_("broker  {key}").format(key=own_key))
    output.line()
    if rows:
        _table(rows)
    elif folder.secret_files():
        for path in folder.secret_files():
            output.line(_("own secret: {path}").format(path=path))
    else:
        output.line(_("No key is on the list."))
    for error in wrong:
        output.complain(translate_error(error))
    for path in folder.exposed():
        output.complain(_("others on this machine may read {path}; chmod 600 {path}").format(path=path))


def _table(rows: list[AdmittedKey]) -> None:
    titles = (_("role"), _("name"), _("worker ids"), _("secret"), _("public key"))
    here = {True: _("here"), False: "-"}
    cells = [
        (row["role"], row["name"], ",".join(row["ids"]) or "-", here[row["secret_here"]], row["key"])
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (titles, *cells)) for column in range(len(titles))]
    for line in (titles, *cells):
        output.line("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _has_secret(folder: KeyFolder, grant: Grant) -> bool:
    return folder.file(grant.role, grant.name, SECRET).exists()


def _print_made(folder: KeyFolder, made: list[Path], options: argparse.Namespace) -> None:
    if options.json:
        keys = {str(path.relative_to(folder.path)): read_certificate(path).public for path in made}
        output.as_json({"folder": str(folder.path), "made": keys})
        return
    _print_files(_("Made, each with its secret beside it:"), made)


def _print_files(title: str, paths: list[Path], **values: object) -> None:
    output.line(title.format(**values))
    for path in paths:
        output.line(f"  {path}")


ACTIONS: dict[str, Callable[[KeyFolder, argparse.Namespace], None]] = {
    "make": _make,
    "list": _list,
    "add": _add,
    "give": _give,
    "remove": _remove,
    "import": _import,
}
