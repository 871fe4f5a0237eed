"""A known environment for every test: English, no settings of the developer's, a home folder of its own.

The end of a run also proves that the tests left no process behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import hypothesis
import psutil
import pytest

from labkit.support import i18n
from tests.tools.waiting import wait_until

# Processes that Python's own multiprocessing keeps until the interpreter ends.
KEPT_BY_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

hypothesis.settings.register_profile("lab", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("lab")


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("LABKIT_", "WORKER_")) or name == "REDIS_URL":
            del os.environ[name]
    os.environ["LABKIT_HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["LABKIT_LANG"] = "en"
    yield
    ours = str(tmp_path_factory.getbasetemp())
    try:
        wait_until(lambda: not processes_at_home_in(ours), 5.0, "the last process of the tests to end")
    except AssertionError:
        left = processes_at_home_in(ours)
        described = [" ".join(process.cmdline()) for process in left if process.is_running()]
        for process in left:
            process.kill()
        pytest.fail(f"processes left behind by the tests (now killed): {described}", pytrace=False)


@pytest.fixture(autouse=True)
def _english() -> None:
    i18n.set_language("en")


@pytest.fixture(autouse=True)
def _learners_modules_are_forgotten() -> Iterator[None]:
    """Each test has a folder ``work`` of its own; a module kept from another's would be found instead."""
    yield
    for name in [name for name in sys.modules if name == "work" or name.startswith("work.")]:
        del sys.modules[name]


def processes_at_home_in(folder: str) -> list[psutil.Process]:
    """The processes that inherited a LABKIT_HOME in ``folder``, wherever in the process tree they are now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LABKIT_HOME", "").startswith(folder):
                command = " ".join(process.cmdline())
                if process.pid != os.getpid() and not any(name in command for name in KEPT_BY_PYTHON):
                    found.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or somebody else's
    return found
