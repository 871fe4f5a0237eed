"""Workers run the version of ``work/`` that the program has, however long they have been running."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from labkit import open_cluster
from labkit.calls import registry, sources
from labkit.cluster import Cluster
from labkit.core.errors import CannotTravel, JobRefused
from labkit.executors import ClusterExecutor, ProcessExecutor, open_executor
from labkit.support.settings import Settings


def forget_work() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "work"]:
        sources.forget(name)
    registry._by_version.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("learner")
    (folder / "work").mkdir()
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    settings = Settings(home=Path(os.environ["LABKIT_HOME"]), work=folder)
    with open_cluster(2, redis=False, settings=settings) as cluster:
        yield cluster


@pytest.fixture
def executor(cluster: Cluster) -> Iterator[ClusterExecutor]:
    with ClusterExecutor(cluster.client()) as executor:
        yield executor


@pytest.fixture
def blur(folder: Path) -> Iterator[ModuleType]:
    """Return the learner's module, imported, at version 1."""
    forget_work()
    edit(folder, 1)
    yield importlib.import_module("work.blur")
    forget_work()


def edit(folder: Path, number: int, text: str = "def soften(x): return (x, {n})\n") -> None:
    """Write a version of work/blur.py, as in the same second as the last one."""
    path = folder / "work" / "blur.py"
    before = path.stat() if path.exists() else None
    path.write_text(text.format(n=number))
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("chunksize", [1, 3])
def test_after_an_edit_and_a_reload_every_worker_runs_the_new_version(
    executor: ClusterExecutor, folder: Path, blur: ModuleType, chunksize: int
) -> None:
    for number in (1, 2, 3):
        edit(folder, number)
        importlib.reload(blur)
        found = list(executor.map(blur.soften, range(20), chunksize=chunksize))
        assert found == [(x, number) for x in range(20)]


def test_without_a_reload_the_program_is_told_what_to_do(
    executor: ClusterExecutor, folder: Path, blur: ModuleType
) -> None:
    assert executor.submit(blur.soften, 0).result(30) == (0, 1)
    edit(folder, 2)
    with pytest.raises(CannotTravel, match=r"work/blur\.py changed .* importlib\.reload\(work\.blur\)"):
        executor.submit(blur.soften, 0)


def test_a_new_function_is_found(executor: ClusterExecutor, folder: Path, blur: ModuleType) -> None:
    assert executor.submit(blur.soften, 0).result(30) == (0, 1)
    edit(folder, 2, "def soften(x): return (x, {n})\ndef harden(x): return -x\n")
    importlib.reload(blur)
    assert list(executor.map(blur.harden, [1, 2, 3])) == [-1, -2, -3]


def test_a_batch_never_mixes_two_versions(
    executor: ClusterExecutor, cluster: Cluster, folder: Path, blur: ModuleType
) -> None:
    """The file changes while the inputs are still coming: what was sent runs the old version or nothing."""

    def inputs() -> Iterator[int]:
        yield from range(600)
        edit(folder, 2)
        yield from range(600, 700)

    with pytest.raises(CannotTravel, match=r"work/blur\.py changed"):
        executor.map(blur.soften, inputs())
    edit(folder, 1)
    old = [executor.submit(blur.soften, x) for x in range(20)]
    assert {future.result(30) for future in old} == {(x, 1) for x in range(20)}
    edit(folder, 2)
    importlib.reload(blur)
    assert set(executor.map(blur.soften, range(20))) == {(x, 2) for x in range(20)}


def test_a_version_that_no_worker_can_have_any_more_is_named(
    cluster: Cluster, folder: Path, blur: ModuleType
) -> None:
    edit(folder, 900)
    importlib.reload(blur)
    with cluster.client() as client:
        call = client.prepare(blur.soften, (1,), {})
        edit(folder, 901)  # before any worker has loaded version 900
        error = client.submit_prepared([call])[0].exception(30)
    assert isinstance(error, JobRefused) and "work/blur.py on this worker is version" in str(error)
    assert "submit again" in str(error)


def test_a_function_that_is_named_runs_in_the_version_on_disk(
    cluster: Cluster, folder: Path, blur: ModuleType
) -> None:
    with cluster.client() as client:
        for number in (1, 2):
            edit(folder, number)
            futures = [client.submit("work.blur:soften", x) for x in range(10)]
            assert {future.result(30) for future in futures} == {(x, number) for x in range(10)}
        edit(folder, 3, "def soften(:\n")
        with pytest.raises(JobRefused, match="importing work.blur failed with SyntaxError"):
            client.submit("work.blur:soften", 1).result(30)
        with pytest.raises(JobRefused, match=r"has no nothing \(on the worker's side, in .*write it there"):
            edit(folder, 4)
            client.submit("work.blur:nothing", 1).result(30)


def test_the_processes_of_this_machine_run_the_new_version_too(folder: Path, blur: ModuleType) -> None:
    with open_executor("processes", 1) as executor:
        assert isinstance(executor, ProcessExecutor)
        for number in (1, 2):
            edit(folder, number, "def soften(x): return (x, {n})\ndef harden(x): return -x\n" * number)
            importlib.reload(blur)
            assert executor.submit(blur.soften, 0).result(60) == (0, number)
            assert list(executor.map(blur.soften, [1, 2], chunksize=2)) == [(1, number), (2, number)]
        edit(folder, 3)
        with pytest.raises(CannotTravel, match=r"work/blur\.py changed"):
            executor.submit(blur.soften, 0).result(60)
