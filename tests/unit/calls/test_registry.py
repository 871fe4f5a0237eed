"""Jobs: functions travel by a name that leads back to them, and workers run only allowed ones."""

from __future__ import annotations

import functools
import importlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit import jobs
from labkit.calls import registry
from labkit.calls.registry import name_of, needs, needs_of, resolve
from labkit.calls.serialization import decode_call, encode_call
from labkit.core.errors import CannotTravel, FilterError, JobRefused
from labkit.core.protocol import exit_codes
from labkit.imaging import image_files
from labkit.imaging.filters import apply, parse_steps


def run_python(program: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an importable learner's folder ``work``."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    registry._resolve.cache_clear()
    yield folder
    registry._resolve.cache_clear()


# --- names --------------------------------------------------------------------------------------------------


class Shop:
    def sell(self) -> None: ...

    @classmethod
    def open(cls) -> None: ...

    @staticmethod
    def close() -> None: ...

    def __call__(self) -> None: ...


def top_level() -> str:
    return "top"


def test_a_function_of_a_module_travels_by_its_name() -> None:
    assert name_of(jobs.echo) == "labkit.jobs:echo"
    assert name_of(top_level) == f"{__name__}:top_level"
    assert name_of(Shop.close) == f"{__name__}:Shop.close"
    assert name_of(functools.wraps) == "functools:wraps"


def test_every_job_of_the_lab_is_found_by_its_own_name() -> None:
    for qualname in jobs.__jobs__:
        function = getattr(jobs, qualname)
        assert resolve(name_of(function)) is function
        assert function.__doc__


def inner() -> Any:
    def nested() -> None: ...

    return nested


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: 0, "a lambda has no name that a worker could import; write it with def"),
        (inner(), "nested is defined inside a function; move it to the top level"),
        (Shop().sell, "Shop.sell is a method of an object"),
        (Shop.open, "Shop.open is a method of an object"),
        (Shop(), "it is of type Shop, not a function of a module"),
        (len, "len is built into Python"),
        (math.sqrt, "sqrt is built into Python"),
        ("".join, "cannot be sent to a worker: it is of type builtin_function_or_method"),
        (int, "int is built into Python"),
        (functools.partial(top_level), "a functools.partial cannot be sent"),
        (3, "3 cannot be sent to a worker: it is of type int"),
        (None, "None cannot be sent to a worker"),
        ("labkit.jobs:echo", "it is of type str"),
    ],
)
def test_a_function_its_name_does_not_lead_to_is_refused(function: Any, said: str) -> None:
    with pytest.raises(CannotTravel) as refusal:
        name_of(function)
    assert said in str(refusal.value)
    assert isinstance(refusal.value, TypeError)


def test_a_function_that_was_replaced_under_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = top_level
    monkeypatch.setattr(sys.modules[__name__], "top_level", lambda: "other")
    with pytest.raises(CannotTravel, match="top_level is not \\(or no longer\\) this function"):
        name_of(original)


def test_a_function_of_the_running_program_is_refused() -> None:
    program = (
        "from labkit.calls.registry import name_of\n"
        "def mine(): ...\n"
        "try: name_of(mine)\n"
        "except TypeError as error: print(error)"
    )
    said = run_python(program).stdout
    assert "mine is defined in the program that runs (or in a notebook cell)" in said
    assert "work/my_job.py" in said


def test_importing_jobs_imports_neither_numpy_nor_opencv() -> None:
    program = "import sys, labkit.jobs; sys.exit(bool({'numpy', 'cv2', 'msgpack'} & set(sys.modules)))"
    assert run_python(program).returncode == 0


def test_the_table_of_filters_costs_neither_numpy_nor_opencv() -> None:
    program = "import sys, labkit.imaging.filters; sys.exit(bool({'numpy', 'cv2'} & set(sys.modules)))"
    assert run_python(program).returncode == 0


# --- the allow-list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "subprocess:run",
        "labkit.calls.serialization:decode_value",
        "labkit:anything",
        "workers:main",
        "workshop:steal",
        "work_:steal",
        "labkit.jobs_:x",
        "labkit:jobs.echo",
    ],
)
def test_a_module_that_is_not_allowed_is_refused_without_an_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(JobRefused, match="this worker runs functions of labkit.jobs, work only"):
        resolve(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "echo",
        "labkit.jobs",
        "labkit.jobs:",
        ":echo",
        "labkit.jobs:echo:x",
        "labkit..jobs:echo",
        ".work:f",
        "work.:f",
        "work:.f",
        "work:f.",
        "work:f()",
        "work: f",
        "work:f\n",
        "../work:f",
        "work/x:f",
        "1work:f",
        "a" * 9999,
    ],
)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(JobRefused, match="is not the name of a job") as refusal:
        resolve(name)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "name", ["os.abort", "os._exit", "os.path.join", "time.thread_time", "time.sleep", "Any"]
)
def test_a_function_imported_by_an_allowed_module_is_refused(name: str) -> None:
    with pytest.raises(JobRefused, match="does not offer it as a job"):
        resolve(f"labkit.jobs:{name}")


@pytest.mark.parametrize(
    "name", ["needs", "needs_of_each", "resolve_here", "_filters_in", "exit_codes", "__jobs__"]
)
def test_helper_functions_of_labkit_jobs_are_no_jobs(name: str) -> None:
    with pytest.raises(JobRefused, match="does not offer it as a job"):
        resolve(f"labkit.jobs:{name}")


def test_a_missing_name_is_refused() -> None:
    with pytest.raises(JobRefused, match="labkit.jobs has no nothing"):
        resolve("labkit.jobs:nothing")
    with pytest.raises(JobRefused, match="importing labkit.jobs.nothing failed with ModuleNotFoundError"):
        resolve("labkit.jobs.nothing:f")


def test_the_learners_module_and_its_submodules_may_run(work: Path) -> None:
    (work / "__init__.py").write_text("def double(x): return 2 * x\n")
    (work / "blur.py").write_text("class Box:\n    @staticmethod\n    def half(x): return x / 2\n")
    assert resolve("work:double")(4) == 8
    assert resolve("work.blur:Box.half")(4) == 2
    assert resolve("work:double") is resolve("work:double")
    with pytest.raises(JobRefused, match="runs functions of labkit.jobs only"):
        resolve("work:double", ["labkit.jobs"])


def test_a_module_may_list_which_of_its_functions_are_jobs(work: Path) -> None:
    (work / "__init__.py").write_text("__jobs__ = ['a']\ndef a(): return 1\ndef b(): return 2\n")
    assert resolve("work:a")() == 1
    with pytest.raises(JobRefused, match="work does not offer it"):
        resolve("work:b")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import nowhere", "No module named 'nowhere'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_its_error(work: Path, code: str, said: str) -> None:
    (work / "__init__.py").write_text("")
    (work / "broken.py").write_text(code)
    with pytest.raises(JobRefused, match="importing work.broken failed with") as refusal:
        resolve("work.broken:f")
    assert said in str(refusal.value)


def test_a_refusal_is_not_cached(work: Path) -> None:
    (work / "__init__.py").write_text("")
    with pytest.raises(JobRefused):
        resolve("work.later:f")
    before = work.stat()
    (work / "later.py").write_text("def f(): return 'now'\n")
    # The folder looks unchanged, as on a file system that counts time in seconds.
    os.utime(work, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert resolve("work.later:f")() == "now"


# --- capabilities -------------------------------------------------------------------------------------------


def test_a_call_needs_the_filters_in_its_steps() -> None:
    steps = parse_steps(["sharpen", "edges", "sharpen"])
    assert needs_of(jobs.process_image, (None, steps)) == {"sharpen", "edges"}
    assert needs_of(jobs.process_encoded, (b"", steps), {"format": "jpeg"}) == {"sharpen", "edges"}
    assert needs_of(jobs.process_image, (), {"image": None, "steps": steps}) == {"sharpen", "edges"}


def test_a_call_without_filters_needs_nothing() -> None:
    assert needs_of(jobs.echo, (1,)) == frozenset()
    assert needs_of(jobs.process_image, (None, [])) == frozenset()


def test_wrong_steps_are_found_before_they_travel() -> None:
    with pytest.raises(FilterError, match="'nope' is unknown"):
        needs_of(jobs.process_image, (None, [("nope", {})]))
    with pytest.raises(TypeError):
        needs_of(jobs.process_image, (None,))


def test_a_learners_job_may_state_its_needs() -> None:
    @needs(lambda image: {"blur"})
    def soften(image: Any) -> Any:
        return image

    assert needs_of(soften, ("picture",)) == {"blur"}
    assert soften("picture") == "picture"


# --- the jobs -----------------------------------------------------------------------------------------------


def test_the_small_jobs_return_what_they_promise() -> None:
    assert jobs.echo([1]) == [1]
    assert jobs.add(2, 3) == 5
    assert jobs.sleep_for(0) == 0
    with pytest.raises(RuntimeError, match="on purpose"):
        jobs.fail()
    with pytest.raises(RuntimeError, match="broken glass"):
        jobs.fail("broken glass")


def test_spin_uses_the_processor_for_the_given_time() -> None:
    before = time.thread_time()
    assert jobs.spin(0.05) > 0
    assert time.thread_time() - before >= 0.05


def test_process_image_applies_the_filters_in_order() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    before = image.copy()
    steps = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
    result = jobs.process_image(image, steps)
    assert np.array_equal(result, apply(apply(image, "sharpen", intensity=3), "edges"))
    assert np.array_equal(image, before)


def test_process_encoded_is_process_image_between_decoding_and_encoding() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    steps = parse_steps(["blur"])
    result = jobs.process_encoded(image_files.encode(image), steps)
    assert np.array_equal(image_files.decode(result), jobs.process_image(image, steps))
    assert jobs.process_encoded(image_files.encode(image), steps, "jpeg", 50).startswith(b"\xff\xd8\xff")


def test_a_decoded_call_returns_the_same_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (120, 90, 3), np.uint8)
    steps = parse_steps(["sharpen", "edges", "vignette_python"])
    name, args, kwargs = decode_call(encode_call(name_of(jobs.process_image), (image, steps), {}))
    assert np.array_equal(resolve(name)(*args, **kwargs), jobs.process_image(image, steps))


def test_crash_ends_the_process_without_notice() -> None:
    ended = run_python("import atexit; atexit.register(print, 'bye'); from labkit.jobs import crash; crash()")
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_codes.CRASHED, "", "")


def test_hang_does_not_return() -> None:
    program = (
        "print('started', flush=True); from labkit.jobs import hang; hang(); print('returned', flush=True)"
    )
    with pytest.raises(subprocess.TimeoutExpired) as expired:
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=1, check=False)
    assert expired.value.stdout == b"started\n"
