"""Whatever the learner's code does becomes a calm finding with its own line; nothing is left running."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from labkit.practice.exercise import Exercise
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding
from tests.tools.waiting import wait_until

LIMIT_S = 0.6

BAD = {
    "syntax error": ("def double(:\n", "import", "line 1: def double(:"),
    "failing import": ("import numpyy\n", "import", "line 1: import numpyy"),
    "exception at top level": ("x = 1 / 0\n", "import", "line 1: x = 1 / 0"),
    "exit at top level": ("import sys\nsys.exit(3)\n", "import", "line 2: sys.exit(3)"),
    "endless loop at top level": ("while True:\n    pass\n", "never-returns", "line "),
    "endless loop in a call": ("def double(n):\n    while True:\n        n += 1\n", "never-returns", "line "),
    "waits for ever": (
        "import threading\ndef double(n):\n    threading.Event().wait()\n",
        "never-returns",
        "line 3: threading.Event().wait()",
    ),
    "holds the interpreter lock": (
        "import re\ndef double(n):\n    re.match('(a+)+$', 'a' * 40 + 'b')\n",
        "never-returns",
        "line 3: re.match",
    ),
    "exit in a call": ("import sys\ndef double(n):\n    sys.exit()\n", "raised", "line 3: sys.exit()"),
    "os._exit": ("import os\ndef double(n):\n    os._exit(4)\n", "ended", ""),
    "kills itself": ("import os\ndef double(n):\n    os.kill(os.getpid(), 9)\n", "ended", ""),
    "exception": ("def double(n):\n    return n[0]\n", "raised", "line 2: return n[0]"),
    "not written": ("def double(n):\n    raise NotImplementedError\n", "not-yet", "line 2"),
    "changed signature": ("def double():\n    return 2\n", "signature", ""),
    "more parameters": ("def double(n, m):\n    return 2\n", "signature", ""),
    "other name": ("def triple(n):\n    return 2\n", "missing", ""),
    "not a function": ("double = 4\n", "missing", ""),
    "empty": ("", "missing", ""),
    "commented out": ("# def double(n):\n#     return 2 * n\n", "missing", ""),
    "cannot travel": ("def double(n):\n    return lambda: n\n", "wrong-type", ""),
    "print flood": ("def double(n):\n    while True:\n        print('x' * 1000)\n", "never-returns", "line "),
}


def write(exercise: Exercise, root: Path, code: str | bytes) -> None:
    file = root / "work" / f"{exercise.module}.py"
    file.write_bytes(code if isinstance(code, bytes) else code.encode())


def finding_of(learner: Learner) -> Finding:
    with pytest.raises(Finding) as caught:
        learner.call("double", 2, limit_s=LIMIT_S)
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_bad_code_becomes_a_finding_with_its_own_line(exercise: Exercise, root: Path, name: str) -> None:
    code, expected, line = BAD[name]
    write(exercise, root, code)
    with Learner(exercise, root) as learner:
        finding = finding_of(learner)
        assert finding.code == expected
        for template in (finding.template, finding.expected, finding.advice):
            assert template.format(**finding.params)
        assert len(learner.output) < 40_000
    if line:
        assert finding.learner_lines[-1].startswith("ex97_double.py, ")
        assert line in finding.learner_lines[-1]


def test_a_file_in_latin_1_cannot_be_imported(exercise: Exercise, root: Path) -> None:
    write(exercise, root, 'x = "ñ"\n'.encode("latin-1"))
    with Learner(exercise, root) as learner:
        finding = finding_of(learner)
    assert finding.code == "import"
    assert "utf-8" in str(finding)


def is_running(pid: int) -> bool:
    try:
        return str(psutil.Process(pid).status()) != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_what_the_code_has_forked_ends_with_it(exercise: Exercise, root: Path) -> None:
    write(
        exercise,
        root,
        "import os, time\n"
        "def double(n):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        time.sleep(600)\n"
        "    return pid\n",
    )
    with Learner(exercise, root) as learner:
        child = learner.call("double", 2)
        assert is_running(child)
    wait_until(lambda: not is_running(child), what="the end of the forked process")


def test_a_good_function_is_called_as_often_as_wanted_and_may_print(exercise: Exercise, root: Path) -> None:
    write(exercise, root, "def double(n):\n    print('n is', n)\n    return 2 * n\n")
    with Learner(exercise, root) as learner:
        assert [learner.call("double", number) for number in range(3)] == [0, 2, 4]
        wait_until(lambda: "n is 2" in learner.output, what="what was printed")


def test_after_the_process_has_ended_the_next_call_starts_another(exercise: Exercise, root: Path) -> None:
    write(exercise, root, "import os\ndef double(n):\n    return 2 * n if n else os._exit(1)\n")
    with Learner(exercise, root) as learner:
        with pytest.raises(Finding):
            learner.call("double", 0)
        assert learner.call("double", 3) == 6


def test_play_calls_the_exercises_function_with_the_module(exercise: Exercise, root: Path) -> None:
    write(exercise, root, "def double(n):\n    return 2 * n\n")
    (exercise.folder / "play.py").write_text("def run(module, n):\n    return module.double(n) + 1\n")
    with Learner(exercise, root) as learner:
        assert learner.play("run", 4) == 9
        with pytest.raises(Finding) as caught:
            learner.play("run", None, known_as="double")
        assert caught.value.expected.format(**caught.value.params) == "double returns without an exception"
