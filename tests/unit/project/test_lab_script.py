"""lab.py from nothing to a running labkit, in a folder of its own, with a stand-in for labkit."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from labkit.support import i18n

LAB = Path(__file__).parents[3] / "lab.py"
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and file descriptors")

# Tells what it was called with, and ends with the exit code that it is asked for.
STAND_IN = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "prefix": sys.prefix}))
sys.exit(int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0)
"""

# Setuptools' part in an editable install, without setuptools. test_packaging.py installs with the real one.
BUILD_SYSTEM = """
[build-system]
requires = []
build-backend = "stand_in_backend"
backend-path = ["."]
"""
BACKEND = """
import os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(os.path.join(folder, "labkit-0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("labkit.pth", os.getcwd())
        info = "labkit-0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: labkit\\nVersion: 0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "labkit-0-py3-none-any.whl"
"""


def new_folder(path: Path) -> Path:
    (path / "labkit").mkdir(parents=True)
    (path / "labkit" / "__main__.py").write_text(STAND_IN)
    (path / "pytest.py").write_text(STAND_IN)
    (path / "pyproject.toml").write_text(BUILD_SYSTEM)
    (path / "stand_in_backend.py").write_text(BACKEND)
    (path / "requirements.txt").write_text("# nothing\n")
    (path / "constraints.txt").write_text("# nothing\n")
    shutil.copy(LAB, path)
    return path


def fetch_from(server: socket.socket, folder: Path) -> None:
    """Let the lab in ``folder`` need a package that only ``server`` may have."""
    index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
    (folder / "requirements.txt").write_text(f"--index-url {index}\nnothing==1\n")


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    # Without this machine's settings for pip: a test must not depend on them, nor reach a registry.
    ours = ("PIP_", "PYTHONPATH")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ.update(PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="1", LABKIT_LANG="en")
    return subprocess.Popen(
        [sys.executable, str(folder / "lab.py"), *arguments],
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **options,
    )


def run(folder: Path, *arguments: str, **options: Any) -> tuple[int, dict[str, Any], str]:
    """Return (exit code, what the stand-in told, what lab.py said)."""
    process = start(folder, *arguments, **options)
    output, said = process.communicate(timeout=120)
    return process.returncode, json.loads(output or "{}"), said


def load(folder: Path) -> ModuleType:
    """Return lab.py of that folder as a module, for what is hard to stage in a process."""
    spec = importlib.util.spec_from_file_location("lab_under_test", folder / "lab.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lab(tmp_path: Path) -> ModuleType:
    return load(new_folder(tmp_path / "lab"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose first run is over; its name has a space and an accent, as people's folders have."""
    folder = new_folder(tmp_path_factory.mktemp("ready").resolve() / "mi práctica")
    code, told, said = run(folder, "demo", "--out", "a b", "7")
    assert code == 7, said
    assert told["arguments"] == ["demo", "--out", "a b", "7"]
    assert "Preparing the lab" in said
    return folder


# --- a machine where something is missing ---


def test_it_parses_on_python_3_6() -> None:
    tree = ast.parse(LAB.read_text(encoding="utf-8"), feature_version=(3, 6))
    # Python 3.6 does not know `annotations`, which `feature_version` overlooks.
    origins = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in origins


def test_an_old_python_is_told_what_to_do(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(lab, "OLDEST", (99, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lab.main(["demo"]) == 1
    said = capsys.readouterr().err
    assert "needs Python 3.11 or newer" in said and "python.org/downloads" in said
    assert not Path(lab.VENV).exists()


@posix
def test_an_old_python_names_a_newer_one_on_this_machine(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(lab, "OLDEST", (99, 0))
    monkeypatch.setattr(sys, "argv", ["lab.py"])
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, code in (("python3.13", 127), ("python3.12", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert lab.main(["demo"]) == 1
    assert "A newer one is here: python3.12 lab.py demo\n" in capsys.readouterr().err


def test_a_missing_venv_module_is_named_with_the_package_that_has_it(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: name != "ensurepip" or None)
    assert lab.main(["demo"]) == 1
    said = capsys.readouterr().err
    assert "lacks the module ensurepip" in said and "sudo apt install python3-venv" in said


def test_a_full_disk_is_named_before_anything_is_installed(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab.shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000))
    assert lab.main(["demo"]) == 1
    assert "5 MB are free" in capsys.readouterr().err
    assert not Path(lab.PYTHON).exists()


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk"),
        ("NewConnectionError('<...>: Failed to establish a new connection: [Errno -3]", "network"),
        ("ERROR: No matching distribution found for pyzmq==27.3.0", "failed"),
    ],
)
def test_a_failed_step_is_explained(lab: ModuleType, output: str, key: str) -> None:
    Path(lab.VENV).mkdir()
    with open(lab.LOCK, "a") as lock, pytest.raises(lab.Problem) as problem:
        lab.run(lock, [sys.executable, "-c", f"raise SystemExit({output!r})"])
    assert str(problem.value)[:20] == lab.text(key, needed=0, folder="", free=0)[:20]


@pytest.mark.slow
def test_without_a_network_it_says_so_and_the_next_run_repairs(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but it does not listen: connections are refused
        fetch_from(nobody, folder)
        code, _, said = run(folder, "demo")
    assert code == 1 and "could not be fetched" in said and "Traceback" not in said
    (folder / "requirements.txt").write_text("# nothing\n")
    assert run(folder, "demo")[0] == 0


# --- interruptions and company ---


@posix
@pytest.mark.slow
def test_a_killed_installation_is_repaired_by_the_next_run(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        fetch_from(silent, folder)
        process = start(folder, "demo")
        connection, _ = silent.accept()  # pip is in the middle of it, and waits for an answer
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        connection.close()
    half_written = folder / ".venv" / "half-written"
    half_written.write_text("")
    (folder / "requirements.txt").write_text("# nothing\n")
    assert run(folder, "demo")[0] == 0
    assert not half_written.exists()


@posix
@pytest.mark.slow
def test_ctrl_c_while_installing_ends_at_once_without_a_traceback(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        fetch_from(silent, folder)
        process = start(folder, "demo")
        connection, _ = silent.accept()
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        _, said = process.communicate(timeout=10)
        connection.close()
    assert process.returncode == 130
    assert "Interrupted" in said and "Traceback" not in said


@pytest.mark.slow
def test_two_runs_at_once_install_once(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    processes = [start(folder, "demo") for _ in range(2)]
    said = "".join(process.communicate(timeout=120)[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0], said
    assert said.count("Preparing") == 1


@posix
@pytest.mark.slow
def test_a_run_waits_for_an_installation_whose_lab_died(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    lab = load(folder)
    Path(lab.VENV).mkdir()
    with open(lab.LOCK, "a") as lock:
        assert lab.grab(lock)
        orphan = subprocess.Popen(  # as pip is when lab.py was killed: it inherited the lock
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
        )
    waiting = start(folder, "demo")
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    orphan.communicate(b"\n")
    output, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said


# --- a machine where all is well ---


@pytest.mark.slow
def test_a_second_run_installs_nothing(ready: Path) -> None:
    stamp = ready / ".venv" / "lab-ready"
    before = stamp.stat().st_mtime_ns
    code, told, said = run(ready, "status")
    assert (code, said) == (0, "")
    assert stamp.stat().st_mtime_ns == before
    assert Path(told["prefix"]) == ready / ".venv"


@pytest.mark.slow
def test_it_works_from_another_folder_and_leaves_that_folder_current(ready: Path, tmp_path: Path) -> None:
    code, told, _ = run(ready, "submit", "photo.png", cwd=tmp_path)
    assert code == 0
    assert Path(told["folder"]) == tmp_path.resolve()


@pytest.mark.slow
def test_the_test_command_runs_pytest_in_the_labs_own_folder(ready: Path, tmp_path: Path) -> None:
    code, told, _ = run(ready, "test", "-k", "codec", "5", cwd=tmp_path)
    assert code == 5
    assert told["arguments"] == ["-n", "2", "--dist", "loadgroup", "-k", "codec", "5"]
    assert Path(told["folder"]) == ready


@pytest.mark.slow
def test_changed_requirements_are_installed_into_the_same_environment(ready: Path) -> None:
    kept = ready / ".venv" / "kept"
    kept.write_text("")
    (ready / "requirements.txt").write_text("# nothing, said differently\n")
    code, _, said = run(ready, "demo")
    assert code == 0 and "Preparing" in said
    assert kept.exists()
    assert run(ready, "demo")[2] == ""


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt"])
def test_an_environment_is_made_from_requirements_and_constraints(lab: ModuleType, name: str) -> None:
    before = lab.recipe()
    (Path(lab.ROOT) / name).write_text("# nothing, said differently\n")
    assert lab.recipe() != before


def test_requirements_are_installed_within_constraints_before_the_folder(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(lab, "run", lambda lock, command: steps.append(" ".join(command)))
    lab.prepare()
    made, packages, folder = steps
    assert "-m venv" in made
    assert packages.endswith(f"install -r {lab.REQUIREMENTS} -c {lab.CONSTRAINTS}")
    assert folder.endswith(f"--no-deps --editable {lab.ROOT}")
    assert Path(lab.STAMP).read_text() == lab.recipe()


@pytest.mark.parametrize(("arguments", "measured"), [(["test"], True), (["test", "tests/unit", "-x"], False)])
def test_only_the_whole_suite_measures_coverage(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], measured: bool
) -> None:
    monkeypatch.setattr(lab, "stamp", lab.recipe)
    monkeypatch.setattr(lab.os, "chdir", lambda folder: None)
    monkeypatch.setattr(lab, "hand_over", lambda command: "--cov" in command)
    assert lab.main(arguments) is measured


@pytest.mark.slow
def test_a_moved_folder_gets_a_new_environment(ready: Path) -> None:
    moved = ready.rename(ready.with_name("moved"))
    try:
        code, told, said = run(moved, "demo")
    finally:
        moved.rename(ready)
    assert code == 0 and "Preparing" in said
    assert Path(told["prefix"]) == moved / ".venv"


def test_where_a_process_cannot_become_another_its_exit_code_is_passed_on(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "WINDOWS", True)
    assert lab.hand_over([sys.executable, "-c", "raise SystemExit(7)"]) == 7


@posix
def test_a_ctrl_c_is_left_to_the_child_where_a_process_cannot_become_another(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "lab")
    child = (
        "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(9));"
        "print('up', flush=True); signal.pause()"
    )
    parent = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import lab; lab.WINDOWS = True\n"
        f"sys.exit(lab.hand_over([sys.executable, '-c', {child!r}]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (9, b"")


# --- languages ---


def test_each_text_is_there_in_both_languages_with_the_same_placeholders(lab: ModuleType) -> None:
    for key, (english, spanish) in lab.TEXTS.items():
        assert placeholders(english) == placeholders(spanish), key
        assert english != spanish, key


def placeholders(template: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(template) if field}


def test_each_text_that_is_used_exists_and_the_other_way_round(lab: ModuleType) -> None:
    used = set(re.findall(r'text\("(\w+)"', LAB.read_text(encoding="utf-8"))) | set(lab.SIGNS) | {"failed"}
    assert used == set(lab.TEXTS)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LABKIT_LANG": "es", "LANG": "en_US.UTF-8"},
        {"LABKIT_LANG": "en", "LANG": "es_ES.UTF-8"},
        {"LANG": "es_AR.UTF-8"},
        {"LANG": "es"},
        {"LC_ALL": "", "LC_MESSAGES": "es_MX@euro", "LANG": "C"},
        {"LC_ALL": "C", "LANG": "es_ES.UTF-8"},
        {"LANG": "et_EE.UTF-8"},
        {"LANG": "Spanish_Spain.1252"},
        {"LANG": "Estonian_Estonia"},
        {"LANG": "de_DE"},
    ],
    ids=str,
)
def test_it_chooses_the_language_as_labkit_does(lab: ModuleType, environ: dict[str, str]) -> None:
    assert lab.spanish(environ) == (i18n.detect(environ) == "es")


def test_it_speaks_spanish(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABKIT_LANG", "es")
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert lab.main([]) == 1
    assert "A este Python le falta el módulo venv" in capsys.readouterr().err
