"""Versions of learners' modules: an edit is noticed, and a call runs the version that its sender has."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.calls import registry, sources, versions
from labkit.calls.registry import resolve, version_of
from labkit.core.errors import CannotTravel, JobRefused, LabkitError, TooManyOpenFiles
from labkit.support.refusals import Refused


def forget_work() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("work", "helper")]:
        sources.forget(name)
    registry._by_version.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a folder ``work``, in which learners' modules are found."""
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    forget_work()
    yield tmp_path
    forget_work()


def write(path: Path, text: str) -> None:
    """Write a source as in the same second as the last one: the times of the file do not change."""
    before = path.stat() if path.exists() else None
    path.write_text(textwrap.dedent(text))
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def blur(folder: Path, number: int) -> Path:
    path = folder / "work" / "blur.py"
    write(path, f"SIZE = {number}\ndef soften(): return SIZE\n")
    return path


# --- the worker's side --------------------------------------------------------------------------------------


def test_an_edit_of_the_same_size_and_second_is_run(folder: Path) -> None:
    for number in (1, 2, 3):
        blur(folder, number)
        assert resolve("work.blur:soften")() == number
    assert resolve("work.blur:soften") is resolve("work.blur:soften")


def test_a_compiled_file_of_an_earlier_version_is_not_believed(folder: Path) -> None:
    path = blur(folder, 1)
    code = "import work.blur; print(work.blur.SIZE, work.blur.__cached__)"
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": ""}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    number, cached = run.stdout.split()
    assert number == "1" and Path(cached).exists()
    write(path, "SIZE = 2\ndef soften(): return SIZE\n")
    assert resolve("work.blur:soften")() == 2


@pytest.mark.parametrize(
    ("blur_text", "other", "other_text"),
    [
        (
            "from work.kernel import size\ndef soften(): return size()",
            "work/kernel.py",
            "def size(): return {n}",
        ),
        ("from . import kernel\ndef soften(): return kernel.N", "work/kernel.py", "N = {n}"),
        ("import work.sub.mod as m\ndef soften(): return m.N", "work/sub/mod.py", "N = {n}"),
        ("from .sub import *\ndef soften(): return N", "work/sub/__init__.py", "N = {n}"),
        ("import helper\ndef soften(): return helper.N", "helper.py", "N = {n}"),
        ("import work\ndef soften(): return work.N", "work/__init__.py", "N = {n}"),
        ("def soften():\n    from work.late import N\n    return N", "work/late.py", "N = {n}"),
    ],
)
def test_an_edit_of_an_imported_module_is_run(
    folder: Path, blur_text: str, other: str, other_text: str
) -> None:
    (folder / "work" / "blur.py").write_text(blur_text)
    (folder / other).parent.mkdir(exist_ok=True)
    seen = set()
    for number in (1, 2):
        write(folder / other, other_text.format(n=number))
        seen.add(versions.on_disk("work.blur"))
        assert resolve("work.blur:soften")() == number
        assert versions.here("work.blur") == versions.on_disk("work.blur")
    assert len(seen) == 2


def test_what_has_not_changed_keeps_its_module(folder: Path) -> None:
    (folder / "work" / "model.py").write_text("LOADED = object()\n")
    write(folder / "work" / "blur.py", "from work.model import LOADED\ndef soften(): return LOADED, 1\n")
    model, one = resolve("work.blur:soften")()
    write(folder / "work" / "blur.py", "from work.model import LOADED\ndef soften(): return LOADED, 2\n")
    assert resolve("work.blur:soften")() == (model, 2) and one == 1


def test_a_call_runs_the_version_of_its_caller_and_no_other(folder: Path) -> None:
    first = versions.on_disk("work.blur") if blur(folder, 1) else ""
    assert resolve("work.blur:soften", version=first)() == 1
    path = blur(folder, 2)
    second = versions.on_disk("work.blur")
    assert first != second and len(second) == versions.DIGITS
    assert resolve("work.blur:soften", version=second)() == 2
    assert resolve("work.blur:soften", version=first)() == 1, "an earlier version stays usable"
    with pytest.raises(JobRefused) as refusal:
        resolve("work.blur:soften", version="0123456789abcdef")
    said = str(refusal.value)
    assert "its caller has version 0123456789abcdef of work.blur" in said and str(path) in said
    assert f"is version {second}" in said and "submit again" in said


def test_a_task_of_the_old_version_goes_on_beside_the_new_one(folder: Path) -> None:
    blur(folder, 1)
    old = resolve("work.blur:soften")
    blur(folder, 2)
    assert (resolve("work.blur:soften")(), old()) == (2, 1)


def test_a_version_is_the_same_in_every_folder_and_with_either_line_end(folder: Path, tmp_path: Path) -> None:
    path = blur(folder, 1)
    here = versions.on_disk("work.blur")
    forget_work()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert versions.on_disk("work.blur") == here
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(folder / "work", other / "work")
    code = "from labkit.calls import versions; print(versions.on_disk('work.blur'))"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(other)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == here


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda path: write(path, "def soften(:\n"),
            ["importing work.blur failed with SyntaxError", "blur.py"],
        ),
        (lambda path: write(path, "1 / 0\n"), ["importing work.blur failed with ZeroDivisionError"]),
        (lambda path: path.unlink(), ["No module named 'work.blur'", "save it there as work/blur.py"]),
        (
            lambda path: write(path, "def other(): pass\n"),
            [
                "work.blur has no soften (on the worker's side, in ",
                "blur.py",
                "save the file, and submit again",
            ],
        ),
    ],
)
def test_a_broken_edit_is_told_with_the_next_step_and_mended(
    folder: Path, edit: Callable[[Path], Any], said: list[str]
) -> None:
    path = blur(folder, 1)
    assert resolve("work.blur:soften")() == 1
    edit(path)
    with pytest.raises(JobRefused) as refusal:
        resolve("work.blur:soften")
    for part in said:
        assert part in str(refusal.value)
    blur(folder, 2)
    assert resolve("work.blur:soften")() == 2


def test_a_module_that_is_missing_names_the_folder_where_it_belongs(folder: Path) -> None:
    with pytest.raises(JobRefused) as refusal:
        resolve("work.sharpen:soften")
    assert f"looks for it in {folder} (LABKIT_WORK): save it there as work/sharpen.py" in str(refusal.value)


def test_the_labs_own_jobs_cost_no_look_at_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve("labkit.jobs:add")
    monkeypatch.setattr(os, "stat", lambda *_: pytest.fail("looked at a file"))
    assert resolve("labkit.jobs:add") is not None and version_of("labkit.jobs:add") == ""


def test_a_version_that_is_loaded_costs_no_look_at_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blur(folder, 1)
    version = versions.on_disk("work.blur")
    function = resolve("work.blur:soften", version=version)
    monkeypatch.setattr(os, "stat", lambda *_: pytest.fail("looked at a file"))
    assert resolve("work.blur:soften", version=version) is function


def test_the_version_is_checked_after_the_allow_list(folder: Path) -> None:
    blur(folder, 1)
    version = versions.on_disk("work.blur")
    resolve("work.blur:soften", version=version)
    with pytest.raises(JobRefused, match="runs functions of labkit.jobs only"):
        resolve("work.blur:soften", ["labkit.jobs"], version)


# --- the sender's side --------------------------------------------------------------------------------------


def test_a_sender_names_the_version_that_it_has_loaded(folder: Path) -> None:
    blur(folder, 1)
    module = importlib.import_module("work.blur")
    first = version_of("work.blur:soften")
    assert first == versions.on_disk("work.blur")
    path = blur(folder, 2)
    with pytest.raises(CannotTravel) as refusal:
        version_of("work.blur:soften")
    assert str(path) in str(refusal.value) and "importlib.reload(work.blur)" in str(refusal.value)
    importlib.reload(module)
    assert module.soften() == 2 and version_of("work.blur:soften") not in ("", first)


def test_the_changed_import_is_named(folder: Path) -> None:
    (folder / "work" / "blur.py").write_text("from work import kernel\ndef soften(): return kernel.N\n")
    write(folder / "work" / "kernel.py", "N = 1\n")
    importlib.import_module("work.blur")
    assert version_of("work.blur:soften")
    write(folder / "work" / "kernel.py", "N = 2\n")
    with pytest.raises(CannotTravel, match=r"kernel\.py changed .* importlib\.reload\(work\.kernel\)"):
        version_of("work.blur:soften")


@pytest.mark.parametrize("text", ["def soften(:\n", "SIZE = 5\n1 / 0\n"])
def test_a_reload_that_fails_is_not_sent(folder: Path, text: str) -> None:
    path = blur(folder, 1)
    module = importlib.import_module("work.blur")
    write(path, text)
    with pytest.raises((SyntaxError, ZeroDivisionError)):
        importlib.reload(module)
    with pytest.raises(CannotTravel, match="changed after it was imported"):
        version_of("work.blur:soften")


@pytest.mark.parametrize(
    ("number", "named"), [(errno.EMFILE, TooManyOpenFiles), (errno.EIO, Refused), (errno.EACCES, Refused)]
)
def test_a_file_that_cannot_be_read_now_is_not_told_as_changed(
    folder: Path, number: int, named: type[LabkitError], monkeypatch: pytest.MonkeyPatch
) -> None:
    blur(folder, 1)
    resolve("work.blur:soften")
    version = version_of("work.blur:soften")

    def refuse(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        patch.setattr(versions, "_known", {})
        patch.setattr(sources, "_read", {})
        patch.setattr(sources, "is_settled", lambda *_: True)
        with pytest.raises(named):
            version_of("work.blur:soften")
    # And it is forgotten when it is over.
    assert version_of("work.blur:soften") == version
    assert resolve("work.blur:soften", version=version)() == 1


def test_a_file_that_cannot_be_read_now_stays_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blur(folder, 1)
    soften = resolve("work.blur:soften")

    def refuse(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(sources, "_read", {})
    versions.refresh()
    assert sys.modules["work.blur"].soften is soften


@pytest.mark.parametrize(
    "instead", ["__getattribute__ = None", "__slots__ = ()", "__dict__ = property(lambda self: exit(3))"]
)
def test_an_object_in_place_of_a_module_harms_no_other_module(folder: Path, instead: str) -> None:
    odd = folder / "work" / "odd.py"
    write(odd, f"import sys\nclass Odd:\n    {instead}\nsys.modules[__name__] = Odd()\n")
    with pytest.raises((AttributeError, TypeError)):
        resolve("work.odd:soften")
    blur(folder, 1)
    assert resolve("work.blur:soften")() == 1
    blur(folder, 2)
    assert resolve("work.blur:soften")() == 2


def test_a_deleted_file_is_not_sent(folder: Path) -> None:
    path = blur(folder, 1)
    importlib.import_module("work.blur")
    path.unlink()
    with pytest.raises(CannotTravel, match=r"blur\.py changed"):
        version_of("work.blur:soften")


@pytest.mark.parametrize("how", ["deleted", "renamed", "a link to nothing"])
def test_a_file_that_is_gone_is_told_as_deleted_with_the_remedy(folder: Path, how: str) -> None:
    """Reloading, the remedy for an edit, would only fail."""
    path = blur(folder, 1)
    importlib.import_module("work.blur")
    path.rename(path.with_name("soft.py"))
    if how == "deleted":
        path.with_name("soft.py").unlink()
    elif how == "a link to nothing":
        path.symlink_to("gone.py")
    with pytest.raises(CannotTravel) as refusal:
        version_of("work.blur:soften")
    assert f"{path} changed" in str(refusal.value) and "it was deleted, renamed" in str(refusal.value)
    assert "save it there again" in str(refusal.value) and "reload" not in str(refusal.value)
    path.unlink(missing_ok=True)
    blur(folder, 1)
    assert version_of("work.blur:soften") == versions.on_disk("work.blur")


def test_a_deleted_import_is_named_before_a_changed_file(folder: Path) -> None:
    (folder / "work" / "blur.py").write_text("from work import kernel\ndef soften(): return kernel.N\n")
    write(folder / "work" / "kernel.py", "N = 1\n")
    importlib.import_module("work.blur")
    assert version_of("work.blur:soften")
    (folder / "work" / "kernel.py").unlink()
    blur(folder, 2)
    with pytest.raises(CannotTravel, match=r"kernel\.py changed .* was deleted") as refusal:
        version_of("work.blur:soften")
    assert "blur.py" not in str(refusal.value)


EARLY = """
import sys; sys.path.append({folder!r})
import work.blur
{edit}
from labkit.calls import registry
from labkit.core.errors import CannotTravel
try:
    print(registry.version_of("work.blur:soften"))
except CannotTravel as error:
    print(error)
"""


@pytest.mark.parametrize("edited", [False, True])
def test_a_module_imported_before_labkit_is_compared_with_its_file(folder: Path, edited: bool) -> None:
    path = folder / "work" / "blur.py"
    path.write_text("def soften(): return 1\n")
    edit = f"open({str(path)!r}, 'w').write('def soften(): return 2\\n')" if edited else ""
    program = EARLY.format(folder=str(folder), edit=edit)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    said = run.stdout.strip()
    assert ("changed after it was imported" in said) if edited else said == versions.on_disk("work.blur")
