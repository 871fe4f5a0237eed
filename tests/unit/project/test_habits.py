"""What those who carry the project on rely on: guide, changelog, licence, hooks and the rules for editors."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import labkit
from tests.tools.waiting import require

ROOT = Path(__file__).parents[3]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- CONTRIBUTING.md ----------------------------------------------------------------------------------------


def typed(document: str) -> Iterator[list[str]]:
    """Yield the words of each command in the document's blocks of shell."""
    for block in re.findall(r"^```sh\n(.*?)^```", read(document), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


def test_the_guides_test_commands_name_tests_that_exist() -> None:
    named = [word for words in typed("CONTRIBUTING.md") for word in words if word.startswith("tests/")]
    assert named
    for word in named:
        file, _, test = word.partition("::")
        assert (ROOT / file).exists(), file
        if test:
            functions = [node for node in ast.parse(read(file)).body if isinstance(node, ast.FunctionDef)]
            assert test in [function.name for function in functions], word


def test_the_guides_make_targets_exist_and_the_makefile_explains_them() -> None:
    makefile = read("Makefile")
    named = {words[1] for words in typed("CONTRIBUTING.md") if words[0] == "make"}
    named |= set(re.findall(r"`make (\w+)`", read("CONTRIBUTING.md")))
    assert {"fast", "lint", "format", "messages", "constraints"} <= named
    assert not [name for name in named if not re.search(rf"^{name}:.*##", makefile, re.MULTILINE)]


def test_the_names_that_the_recipes_use_are_in_the_files_that_they_name() -> None:
    """In a step of a recipe, each name in capitals or of a table stands in one of the step's files."""
    steps = re.findall(r"^\d\. .*?(?=^\d\. |^$)", read("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    assert len(steps) > 12
    for step in steps:
        spans = re.findall(r"`([^`]+)`", step)
        texts = [read(span) for span in spans if span.endswith((".py", ".md")) and (ROOT / span).is_file()]
        names = [span for span in spans if re.fullmatch(r"[A-Z_]{4,}|_\w+_handlers|labkit_alt", span)]
        for name in names:
            assert any(name in text for text in texts), (name, step)


# --- CHANGELOG.md -------------------------------------------------------------------------------------------


def test_the_changelog_tells_of_this_version_below_what_is_unreleased() -> None:
    titles = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    assert titles[1].startswith(f"[{labkit.__version__}] - ")
    kinds = set(re.findall(r"^### (.+)$", read("CHANGELOG.md"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


# --- hooks, blame, editors ----------------------------------------------------------------------------------


def test_the_hooks_run_the_environments_tools_and_download_nothing() -> None:
    (repo,) = YAML(typ="safe").load(read(".pre-commit-config.yaml"))["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"].split()[0] for hook in repo["hooks"]] == [
        ".venv/bin/ruff",
        ".venv/bin/ruff",
        ".venv/bin/mypy",
    ]
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}


def git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    require(ran.returncode == 0, "a clone made by git, with its history")
    return ran.stdout


def test_each_commit_that_blame_looks_through_exists() -> None:
    lines = [line for line in read(".git-blame-ignore-revs").splitlines() if line and line[0] != "#"]
    assert not [line for line in lines if not re.fullmatch(r"[0-9a-f]{40}", line)]
    shallow = git("rev-parse", "--is-shallow-repository").strip() == "true"
    for line in [] if shallow else lines:
        assert git("cat-file", "-t", line).strip() == "commit"


def test_every_text_file_is_as_editorconfig_says() -> None:
    rules = configparser.ConfigParser()
    rules.read_string("[root]\n" + read(".editorconfig"))
    everywhere = rules["*"]
    assert everywhere["charset"] == "utf-8" and everywhere["end_of_line"] == "lf"
    assert everywhere["insert_final_newline"] == everywhere["trim_trailing_whitespace"] == "true"
    wrong = []
    for name in git("ls-files", "-z").split("\0"):
        path = ROOT / name
        if not path.is_file() or b"\0" in (data := path.read_bytes()) or path.suffix == ".png":
            continue
        lines = data.decode("utf-8").split("\n")
        tabs = name != "Makefile" and any(line.startswith("\t") for line in lines)
        if lines[-1] or b"\r" in data or tabs or any(line != line.rstrip() for line in lines):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_lines_are_as_long_as_in_the_code(name: str) -> None:
    assert not [line for line in read(name).splitlines() if len(line) > 110 and not line.startswith("|")]
