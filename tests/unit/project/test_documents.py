"""The documents tell the truth: what they name exists, what they count is so, what they show can be typed.

What can be checked without running anything is checked here: links, files, modules, commands, and the tables
of PROTOCOL.md and ARCHITECTURE.md against the code that they describe.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from labkit.broker import authenticator
from labkit.cli.commands import OWN_HELP, TAKES_WORDS, find
from labkit.cli.parser import parse
from labkit.cluster.cluster import Cluster
from labkit.core.broker.admission import Admission
from labkit.core.broker.liveness import Liveness
from labkit.core.broker.scheduler import Scheduler
from labkit.core.broker.task_life import TaskLife
from labkit.core.history import History
from labkit.core.peers.client_session import ClientSession
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.executors import ClusterExecutor
from tests.tools.source_tree import LAZY_DOORS, PROCESSES, ROOMS, modules_under

ROOT = Path(__file__).parents[3]
READMES = ("README.md", "README.es.md")
DECISIONS = tuple(sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/decisions/*/*.md")))
INDEX = "docs/decisions/README.md"
DOCUMENTS = (
    *READMES,
    "ARCHITECTURE.md",
    "PROTOCOL.md",
    "docs/reliability.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    INDEX,
    *DECISIONS,
)

MADE_BY_USERS = ("work/", "out/", "photos/", ".venv/", "labkit-demo/")
"""Folders that a document may name although they are not in a fresh clone."""
MOST_PICTURE_BYTES = 200 << 10

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"[\w./-]+(?:\.(?:py|md|txt|toml|png|po|yml)|/)")
MODULE = re.compile(r"(?:labkit|workers|benchmarks)(?:\.\w+)+")
COMMAND = re.compile(r"(?:python3 lab\.py|python -m labkit)\b.*")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    return FENCE.sub("", read(name))


def spans(name: str) -> list[str]:
    """Return what stands in backticks outside of blocks of code."""
    return SPAN.findall(prose(name))


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of each table, headings included, the lines below them not."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def section(text: str, heading: str) -> str:
    """Return what stands below ``heading``, up to the next heading of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    after = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def headings(name: str) -> list[str]:
    return re.findall(r"^#+ .*$", FENCE.sub("", read(name)), re.MULTILINE)


# --- links, files, modules ----------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in LINK.findall(prose(name)):
        if re.match(r"https?://", target):
            continue
        file, _, fragment = target.partition("#")
        page = (ROOT / name).parent / file if file else ROOT / name
        assert page.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(str(page.resolve().relative_to(ROOT)))), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_named_exists(name: str) -> None:
    named = [word for word in spans(name) if FILE.fullmatch(word) and not word.startswith(MADE_BY_USERS)]
    assert not [word for word in named if not (ROOT / word).exists()]


def exists(dotted: str) -> bool:
    """Return whether this is a module, or a name at the top level of one."""
    try:
        if importlib.util.find_spec(dotted) is not None:
            return True
    except ModuleNotFoundError:
        pass  # its parent is no package: then it must be a name in it
    parent, _, name = dotted.rpartition(".")
    spec = importlib.util.find_spec(parent)
    assert spec is not None and spec.origin is not None, dotted
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    known = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    known |= {target.id for target in targets if isinstance(target, ast.Name)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    known |= {alias.asname or alias.name for node in imports for alias in node.names}
    return name in known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_module_named_exists(name: str) -> None:
    domains = {authenticator.CLIENT_DOMAIN, authenticator.WORKER_DOMAIN, authenticator.EVENT_DOMAIN}
    named = {word for word in spans(name) if MODULE.fullmatch(word)} - domains
    assert not [dotted for dotted in sorted(named) if not exists(dotted)]


CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        Scheduler,
        Admission,
        Liveness,
        TaskLife,
        WorkerSession,
        ClientSession,
        Cluster,
        ClusterExecutor,
        History,
        Rules,
    )
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_method_named_exists(name: str) -> None:
    for word in spans(name):
        owner, dot, method = word.partition(".")
        if dot and owner in CLASSES:
            assert hasattr(CLASSES[owner], method), word


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs").glob("*.png")]
    assert pictures
    assert not [path.name for path in pictures if path.stat().st_size > MOST_PICTURE_BYTES]


# --- commands -----------------------------------------------------------------------------------------------


def commands(name: str) -> list[str]:
    """Return the calls of labkit in a document; what follows one after wide space explains it."""
    lines = [line.strip() for _, block in FENCE.findall(read(name)) for line in block.splitlines()]
    found = [found[0] for text in [*lines, *spans(name)] if (found := COMMAND.fullmatch(text))]
    return [text.partition("  ")[0] for text in found]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_can_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(name):
        words = shlex.split(command)
        words = words[words.index("lab.py" if "lab.py" in words else "labkit") + 1 :]
        if words[:1] == ["test"]:
            continue  # lab.py's own, for pytest
        if words and words[0] in TAKES_WORDS | OWN_HELP:
            find(words[0])
        else:
            parse(words)
    capsys.readouterr()


@pytest.mark.parametrize("name", READMES)
def test_programs_in_the_readme_are_python_and_import_what_exists(name: str) -> None:
    programs = [block for language, block in FENCE.findall(read(name)) if language == "python"]
    assert programs
    for program in programs:
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("labkit"):
                assert all(exists(f"{node.module}.{alias.name}") for alias in node.names), ast.unparse(node)


def test_both_readmes_have_the_same_headings_and_commands() -> None:
    english, spanish = READMES
    levels = [[line.split(" ")[0] for line in headings(name)] for name in READMES]
    assert levels[0] == levels[1]
    assert commands(english) == commands(spanish) != []


# --- PROTOCOL.md --------------------------------------------------------------------------------------------

TYPES = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "f": "f32", "d": "f64", "8s": "b8", "16s": "b16"}
PROTOCOL = "PROTOCOL.md"


def body_of(kind: wire.Kind) -> str:
    """Return a kind's fields as PROTOCOL.md writes them: "task b16 · attempt u32"."""
    codes = re.findall(r"\d*\w", kind.layout.format.removeprefix("!"))[: kind.fixed]
    types = [TYPES[code] for code in codes] + ["str"] * kind.strings + ([kind.tail] if kind.tail else [])
    names: tuple[str, ...] = kind.cls._fields  # type: ignore[attr-defined]
    return " · ".join(f"{name} {type_}" for name, type_ in zip(names, types, strict=True))


def told_kinds(text: str) -> dict[str, tuple[str, str]]:
    """Return number -> (name, body) from the tables in ``text``."""
    return {row[0]: (row[1], row[2]) for row in rows(text) if row[0].startswith("0x")}


def test_the_kinds_are_those_of_the_code() -> None:
    real = {f"0x{kind.number:02x}": (kind.cls.__name__, body_of(kind)) for kind in wire.KINDS}
    assert told_kinds(read(PROTOCOL)) == real


@pytest.mark.parametrize(
    ("heading", "allowed", "either_way"),
    [
        ("### Client to broker", m.FROM_CLIENT, {m.Heartbeat, m.Bulk}),
        ("### Worker to broker", m.FROM_WORKER, {m.Heartbeat, m.Bulk}),
        ("### Broker to client", m.TO_CLIENT, {m.Heartbeat, m.Bulk, m.Stale}),
        ("### Broker to worker", m.TO_WORKER, {m.Heartbeat, m.Bulk, m.Stale}),
    ],
)
def test_each_kind_stands_under_who_may_send_it(
    heading: str, allowed: frozenset[type], either_way: set[type]
) -> None:
    told = {name for name, _body in told_kinds(section(read(PROTOCOL), heading)).values()}
    assert told == {kind.__name__ for kind in allowed - either_way}
    assert either_way <= allowed


def test_the_failure_codes_are_those_of_the_code() -> None:
    told = [row[0].strip("`") for row in rows(section(read(PROTOCOL), "### Broker to client"))]
    assert [word for word in told if word.isupper()] == list(m.FAILURE_CODES)


def test_the_example_is_what_its_bytes_say() -> None:
    block = next(block for _, block in FENCE.findall(read(PROTOCOL)) if block.startswith("4c 01"))
    envelope = bytes.fromhex("".join(line.partition("   ")[0] for line in block.splitlines()))
    submit = m.Submit(
        bytes(range(16)), 3600.0, 0.0, "labkit.jobs:add", "",
        m.Payload(b"\x93\xaflabkit.jobs:add\x92\x01\x02\x80"),
    )  # fmt: skip
    assert wire.decode(envelope) == [submit]
    assert next(wire.envelopes([submit])) == (envelope, ())


UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def number(text: str) -> float:
    """Return what "1 GiB", "100,000" or "0.5" says."""
    value, _, unit = text.replace(",", "").partition(" ")
    return float(value) * UNITS.get(unit, 1)


def test_the_rules_have_the_values_of_the_code() -> None:
    real = {field.name: getattr(Rules(), field.name) for field in fields(Rules)}
    told = {row[0].strip("`"): number(row[1]) for row in rows(read(PROTOCOL)) if row[0].strip("`") in real}
    assert told == real


# --- ARCHITECTURE.md ----------------------------------------------------------------------------------------


def test_the_rooms_are_those_of_the_architecture_test() -> None:
    table = [row for row in rows(section(read("ARCHITECTURE.md"), "## Rooms")) if row[0].startswith("`")]
    shown = {row[0].strip("`"): SPAN.findall(row[2].replace(CLUSTER_API, API)) for row in table}
    assert {room: sorted(names) for room, names in shown.items()} == {
        room: sorted(names.split()) for room, names in ROOMS.items()
    }


CLUSTER_API = "*cluster API*"
API = " ".join(f"`{room}`" for room in PROCESSES.split())


def test_the_cluster_api_is_spelt_out_below_the_rooms() -> None:
    text = " ".join(section(read("ARCHITECTURE.md"), "## Rooms").split())
    assert f"The {CLUSTER_API} is {API}." in text
    for above in (f"`{room}` → `{target}`" for room, target in LAZY_DOORS):
        assert above in text


def test_each_thread_of_the_table_has_its_name_in_the_code() -> None:
    table = list(rows(section(read("ARCHITECTURE.md"), "## Threads and sockets")))
    named = {name for row in table for name in SPAN.findall(row[1])}
    code = "".join(path.read_text(encoding="utf-8") for path in modules_under(ROOT).values())
    assert named
    assert not [name for name in named if f'"{name}"' not in code and f'f"{name[:-1]}{{' not in code]


# --- docs/decisions -----------------------------------------------------------------------------------------

PARTS = ["## Context", "## Decision", "## What was tried", "## Price"]


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_has_its_four_parts(name: str) -> None:
    assert headings(name)[1:] == PARTS


def test_the_index_lists_each_decision_by_its_title() -> None:
    listed = dict(re.findall(r"^\* \[(.+)\]\(([^)]+)\)$", read(INDEX), re.MULTILINE))
    folder = Path(INDEX).parent
    titles = {headings(name)[0][2:]: Path(name).relative_to(folder).as_posix() for name in DECISIONS}
    assert listed == titles
