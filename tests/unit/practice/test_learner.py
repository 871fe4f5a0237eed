"""Whatever the learner's code does becomes a calm finding with its own line; nothing is left running."""

from __future__ import annotations

import ast
import contextlib
import os
from pathlib import Path

import psutil
import pytest

from labkit.practice import learner as learning
from labkit.practice.check import SIMULATED, check
from labkit.practice.exercise import Exercise, catalogue, find
from labkit.practice.learner import Learner
from labkit.practice.screen import CODE, verdict_lines
from labkit.practice.verdict import Finding, Kind
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
    "null bytes": ("x = 1\nd\0ef double(n):\n    return 2 * n\n", "import", ""),
    "a tab among spaces": ("def double(n):\n    x = 2\n\treturn x * n\n", "import", "line 3"),
    "recursion": ("def double(n):\n    return double(n)\n", "raised", "line 2: return double(n)"),
    "crash of the interpreter": ("import ctypes\ndef double(n):\n    ctypes.string_at(0)\n", "ended", ""),
    "one huge allocation": ("def double(n):\n    return len(b'x' * 10**14)\n", "raised", "line 2"),
    "memory without end": (
        "def double(n):\n    kept = []\n    while True:\n        kept.append(bytearray(b'x' * 2**22))\n",
        "too-much-memory",
        "line ",
    ),
    "a huge power holds the lock": (
        "def double(n):\n    return len(str(7 ** 7 ** 9)) if n else 0\n",
        "never-returns",
        "line 2: return len(str(7 ** 7 ** 9))",
    ),
    "reads standard input": ("def double(n):\n    return input('n? ')\n", "raised", "line 2"),
    "sys.stdin is read": (
        "import sys\ndef double(n):\n    return sys.stdin.readline()[5]\n",
        "raised",
        "line 3",
    ),
    "text of the exception raises": (
        "class Odd(Exception):\n    def __str__(self):\n        raise SystemExit\n"
        "def double(n):\n    raise Odd\n",
        "raised",
        "line 5: raise Odd",
    ),
    "exception with a lone surrogate": (
        "def double(n):\n    raise ValueError('\\ud800 {x}')\n",
        "raised",
        "line 2",
    ),
    "KeyboardInterrupt": ("def double(n):\n    raise KeyboardInterrupt\n", "raised", "line 2"),
    "closes standard output": (
        "import sys\ndef double(n):\n    sys.stdout.close()\n    print(n)\n",
        "raised",
        "line 4: print(n)",
    ),
    "closes all files": ("import os\ndef double(n):\n    os.closerange(0, 99)\n", "broken-python", ""),
    "closes all files and stays": (
        "import os\ndef double(n):\n    os.closerange(0, 99)\n    while True: pass\n",
        "broken-python",
        "",
    ),
    "replaces built-ins": (
        "import builtins\ndef double(n):\n    builtins.len = builtins.isinstance = builtins.type = None\n",
        "broken-python",
        "",
    ),
    "replaces struct and os._exit": (
        "import os, struct\ndef double(n):\n    struct.pack = os._exit = None\n",
        "broken-python",
        "",
    ),
    "writes into our pipe": (
        "import os\ndef double(n):\n    for fd in range(3, 20):\n        try: os.write(fd, b'nonsense' * 9)\n"
        "        except OSError: pass\n    while True: pass\n",
        "broken-python",
        "",
    ),
    "stops itself": ("import os\ndef double(n):\n    os.kill(os.getpid(), 19)\n", "never-returns", ""),
    "ignores signals": (
        "import signal\nfor one in (2, 10, 14, 15):\n    signal.signal(one, signal.SIG_IGN)\n"
        "def double(n):\n    while True: pass\n",
        "never-returns",
        "",
    ),
    "a fork bomb": ("import os\ndef double(n):\n    while True: os.fork()\n", "too-many-processes", ""),
    "a coroutine": ("async def double(n):\n    return 2 * n\n", "wrong-type", ""),
    "a generator": ("def double(n):\n    yield 2 * n\n", "wrong-type", ""),
    "a list in itself": ("def double(n):\n    x = []\n    x.append(x)\n    return x\n", "wrong-type", ""),
    "a huge answer": ("def double(n):\n    return bytes(300 << 20)\n", "wrong-type", ""),
    "a thread that stops the main one": (
        "import _thread, time\ndef double(n):\n    _thread.interrupt_main()\n    time.sleep(9)\n",
        "raised",
        "line ",
    ),
    "print flood": ("def double(n):\n    while True:\n        print('x' * 1000)\n", "never-returns", "line "),
}


GOOD = {
    "byte-order mark": b"\xef\xbb\xbfdef double(n):\n    return 2 * n\n",
    "CR LF": b"def double(n):\r\n    return 2 * n\r\n",
    "Latin-1 that says so": '# -*- coding: latin-1 -*-\nx = "ñ"\ndef double(n):\n    return 2 * n\n'.encode(
        "latin-1"
    ),
    "a thread left running": (
        b"import threading, time\ndef double(n):\n"
        b"    threading.Thread(target=time.sleep, args=(600,)).start()\n    return 2 * n\n"
    ),
    "atexit that hangs": (
        b"import atexit, time\natexit.register(time.sleep, 600)\ndef double(n):\n    return 2 * n\n"
    ),
    "a clock replaced": (
        b"import time\ntime.monotonic = time.time = lambda: 0\ndef double(n):\n    return 2 * n\n"
    ),
    "json replaced": b"import json\njson.dumps = json.loads = None\ndef double(n):\n    return 2 * n\n",
    "another folder": b"import os\nos.chdir('/')\nos.environ.clear()\ndef double(n):\n    return 2 * n\n",
    "a last line without its end": b"def double(n):\n    return 2 * n",
    "a window of matplotlib": (
        b"import matplotlib.pyplot as plt\n"
        b"def double(n):\n    plt.plot([n])\n    plt.show()\n    return 2 * n\n"
    ),
}


def write(exercise: Exercise, root: Path, code: str | bytes) -> None:
    file = root / "work" / f"{exercise.module}.py"
    file.write_bytes(code if isinstance(code, bytes) else code.encode())


def finding_of(learner: Learner, limit_s: float = LIMIT_S) -> Finding:
    with pytest.raises(Finding) as caught:
        learner.call("double", 2, limit_s=limit_s)
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_bad_code_becomes_a_finding_with_its_own_line(exercise: Exercise, root: Path, name: str) -> None:
    code, expected, line = BAD[name]
    write(exercise, root, code)
    with Learner(exercise, root) as learner:
        finding = finding_of(learner, 20.0 if expected == "too-much-memory" else LIMIT_S)
        assert finding.code == expected
        for template in (finding.template, finding.expected, finding.advice):
            assert template.format(**finding.params)
        assert len(learner.output) < 40_000
        assert "labkit" not in learner.output, "a traceback of ours"
    if line:
        assert finding.learner_lines[-1].startswith("ex97_double.py, ")
        assert line in finding.learner_lines[-1]


@pytest.mark.parametrize("name", GOOD)
def test_what_does_no_harm_is_allowed(exercise: Exercise, root: Path, name: str) -> None:
    write(exercise, root, GOOD[name])
    with Learner(exercise, root) as learner:
        assert [learner.call("double", number, limit_s=5.0) for number in (2, 3)] == [4, 6]


def test_a_file_in_latin_1_cannot_be_imported(exercise: Exercise, root: Path) -> None:
    write(exercise, root, 'x = "ñ"\n'.encode("latin-1"))
    with Learner(exercise, root) as learner:
        finding = finding_of(learner)
    assert finding.code == "import"
    assert "utf-8" in str(finding)


@pytest.fixture(autouse=True)
def short_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "IMPORT_S", 2.0)
    monkeypatch.setattr(learning, "MOST_MEMORY", 300 << 20)


def is_running(pid: int) -> bool:
    try:
        return str(psutil.Process(pid).status()) != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("ending", ["return child", "os._exit(0)"])
def test_a_daemon_that_left_the_group_ends_with_the_learner(
    exercise: Exercise, root: Path, ending: str
) -> None:
    note = root / "daemon"
    write(
        exercise,
        root,
        "import os, time\n"
        "def double(n):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.setsid()\n"
        "        if os.fork():\n"
        "            os._exit(0)\n"
        f"        open({str(note)!r}, 'w').write(str(os.getpid()) + '.')\n"
        "        time.sleep(600)\n"
        "    os.waitpid(child, 0)\n"
        f"    while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read().endswith('.'):\n"
        "        time.sleep(0.01)\n"
        f"    {ending}\n",
    )
    with Learner(exercise, root) as learner, contextlib.suppress(Finding):
        learner.call("double", 2)
    daemon = int(note.read_text()[:-1])
    wait_until(lambda: not is_running(daemon), what="the end of the daemon")


def test_many_slow_calls_end_as_too_slow(exercise: Exercise, root: Path) -> None:
    write(exercise, root, "import time\ndef double(n):\n    time.sleep(0.05)\n    return 2 * n\n")
    with Learner(exercise, root, together_s=0.5) as learner, pytest.raises(Finding) as caught:
        for number in range(1000):
            assert learner.call("double", number) == 2 * number
    assert caught.value.code == "too-slow"


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


# --- the words: names, places and advice that fit ---


def test_the_function_that_is_named_is_the_learners_own(exercise: Exercise, root: Path) -> None:
    (exercise.folder / "play.py").write_text("def run(module):\n    return module.double(2)\n")
    write(exercise, root, "def double(n):\n    return inner(n)\n\n\ndef inner(n):\n    return n[0]\n")
    with Learner(exercise, root) as learner, pytest.raises(Finding) as caught:
        learner.play("run")
    assert caught.value.params["function"] == "double"


def test_every_call_through_play_has_a_name_that_the_learner_knows() -> None:
    for exercise in catalogue():
        tree = ast.parse((exercise.folder / "source.py").read_text(encoding="utf-8"))
        known = {getattr(node, "name", getattr(node, "id", "")) for node in ast.walk(tree)}
        checker = ast.parse((exercise.folder / "check.py").read_text(encoding="utf-8"))
        for call in ast.walk(checker):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "play":
                words = {word.arg: word.value for word in call.keywords}
                shown = ast.unparse(words.get("known_as", call.args[0])).strip("'")
                assert shown == "learner.file" or shown in known, f"{exercise.id}: {ast.unparse(call)}"


PLACES: dict[str, tuple[str | bytes, int, str]] = {
    "one line": ("def double(n):\n    return n[0]\n", 1, "It happened in this line"),
    "two lines": ("def double(n):\n    return other(n)\ndef other(n):\n    return n[0]\n", 2, "the last of"),
    "one line twice": ("def double(n):\n    return sum(x[0] for x in [n])\n", 1, "It happened in this line"),
    "in a library": ("import json\ndef double(n):\n    return json.loads('{')\n", 1, "calls or waits for"),
    "null bytes": ("x = 1\nd\0ef double(n):\n    return 2 * n\n", 0, "UTF-8"),
    "UTF-16": ("def double(n):\n    return 2 * n\n".encode("utf-16"), 0, "UTF-8"),
    "a syntax error on the last line": ("def double(n):\n    return 2 * n\nx = (", 1, "line that is shown"),
    "waits while it is imported": ("import time\ntime.sleep(60)\n", 1, "outside of functions"),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_advice_fits_the_lines_that_are_shown(exercise: Exercise, root: Path, name: str) -> None:
    code, lines, advice = PLACES[name]
    write(exercise, root, code)
    with Learner(exercise, root) as learner:
        finding = finding_of(learner)
    assert len(finding.learner_lines) == lines
    assert advice in finding.advice.format(**finding.params)


@pytest.mark.parametrize(
    ("answer", "place"), [("(x for x in [n])", "value is"), ("[n, {1: object()}]", "value[1][1] is")]
)
def test_a_place_in_an_answer_is_one_in_what_the_learner_returned(
    exercise: Exercise, root: Path, answer: str, place: str
) -> None:
    write(exercise, root, f"def double(n):\n    return {answer}\n")
    with Learner(exercise, root) as learner:
        assert f": {place} of type" in str(finding_of(learner))


@pytest.mark.parametrize(
    ("code", "has_timeline"),
    [("", False), ("\0", False), ("def after_loss(held): pass\n", False),
     ("def after_loss(held, waiting): return (x for x in held)\n", False),
     ("def after_loss(held, waiting): return waiting\n", True)],
)  # fmt: skip
def test_a_run_is_shown_only_if_the_run_went_wrong(root: Path, code: str, has_timeline: bool) -> None:
    requeue = find("requeue")
    write(requeue, root, code)
    verdict = check(requeue, root, stages=(SIMULATED,), seeds=range(1))
    assert (verdict.kind, bool(verdict.timeline)) == (Kind.FAIL, has_timeline)


def test_a_run_is_as_wide_as_the_terminal_and_tells_of_the_loss_that_was_judged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requeue = find("requeue")
    write(requeue, root, "def after_loss(held, waiting): return waiting + held\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    verdict = check(requeue, root, stages=(SIMULATED,), seeds=range(1))
    shown = [line.text for line in verdict_lines(requeue, verdict) if line.role == CODE]
    assert max(map(len, shown)) <= 80
    at, worker = f"{verdict.params['at']:.3f} s", verdict.params["worker"]
    assert any(at in line and f"{worker} is lost" in line for line in shown)
