"""The command line as a whole: one line for a mistake, a traceback for a bug, no output after Ctrl-C."""

from __future__ import annotations

import builtins
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import cli
from labkit.cli import output
from labkit.cli.commands import COMMANDS, TAKES_WORDS, find, load
from labkit.core.errors import ClusterError, InvalidInput, InvariantBroken
from labkit.support import i18n
from tests.tools.command_line import ROOT, Commands

TOO_LARGE = ["--filters", "resize", "--param", "resize.width=16384", "--param", "resize.height=16384"]


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


# --- help ---


def test_missing_command_shows_all_commands(lab: Commands) -> None:
    said = lab.done()
    assert said == lab.done("--help")
    for name in COMMANDS:
        assert f"  {name} " in said.out


def test_version_option_prints_the_version(lab: Commands) -> None:
    assert lab.done("--version").out.startswith("labkit ")


HELPED = sorted(set(COMMANDS) - {"bench"})  # it explains itself


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("name", HELPED)
def test_every_command_has_help_with_an_example(lab: Commands, name: str, language: str) -> None:
    i18n.set_language(language)
    said = lab.done(name, "--help")
    assert f"{output.call()} {name}" in said.out.split("\n")[0]
    if name != "broker":
        example = said.out.partition(i18n._("examples:"))[2]
        assert f"{output.call()} {name}" in example


def test_every_example_can_be_parsed(lab: Commands) -> None:
    from labkit.cli.parser import command_parser

    for name in set(HELPED) - TAKES_WORDS:
        parser = command_parser(name)
        examples = (parser.epilog or "").partition("examples:")[2].strip().split("\n")
        for example in examples:
            words = example.strip().removeprefix(output.call()).split()
            assert words[0] == name
            parser.parse_args(words[1:])


def test_every_command_has_a_module() -> None:
    for name in COMMANDS:
        module = load(name)
        assert hasattr(module, "run_words" if name in TAKES_WORDS else "run")
        assert hasattr(module, "configure")


# --- mistakes ---


def test_an_unknown_command_names_the_nearest(lab: Commands) -> None:
    assert "is status meant?" in lab.refused("statsu", code=2)


def test_unrecognisable_command_points_to_the_list(lab: Commands) -> None:
    assert "--help" in lab.refused("xyzzy", code=2)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["up", "--workers", "many"], "'many'"),
        (["up", "--colour"], "--colour"),
        (["up", "--policy", "best"], "'best' is unknown; known: least_busy"),
        (["up", "--redis-port", "99999"], "--redis-port 99999"),
        (["up", "--client-port", "first"], "--client-port first"),
        (["up", "--workers", "999"], "256"),
        (["redis", "--name"], "--name"),
        (["redis", "--name", "../x", "PING"], "'../x'"),
        (["redis", "--name", "second", "--backend"], "--backend"),
        (["redis", "--backend=podman", "PING"], "'podman' is unknown; known: local, compose"),
        (["up", "--name", "../x"], "'../x'"),
        (["kill"], "WORKER"),
        (["scale", "some"], "'some'"),
        (["logs", "--lines", "-1"], "--lines -1"),
        (["status", "--watch", "--json"], "--watch"),
        (["status", "--watch"], "terminal"),
        (["broker", "now"], "'now'"),
        (["submit", "--out", "x"], "--filters"),
        (["submit", "--filters", "blur"], "--out"),
        (["submit", "--filters", "blurr", "--out", "x"], "'blurr' is unknown; known: resize"),
        (["submit", "--filters", "blur", "--param", "blur", "--out", "x"], "'blur'"),
        (["submit", "--filters", "blur", "--param", "blur.radius=big", "--out", "x"], "'big'"),
        (["submit", "--filters", "blur", "--param", "blur.size=1", "--out", "x"], "size"),
        (["submit", "--filters", "blur", "--engine", "gpu", "--out", "x"], "gpu"),
        (["submit", "--filters", "blur", "--param", "blur.radius=1_0", "--out", "x"], "'1_0'"),
        (["submit", "--filters", "blur", *2 * ["--param", "blur.radius=2"], "--out", "x"], "blur.radius is"),
        (["submit", *TOO_LARGE, "--out", "x"], "at most 25000000 pixels"),
        (["submit", "--filters", "blur", "--out", ""], "--out ''"),
        (["submit", "", "--filters", "blur", "--out", "x"], "'' names no picture"),
        (["scale", "1_0"], "'1_0'"),
        (["up", "--client-port", "٦٠٠٠"], "--client-port ٦٠٠٠: a number from 1 to 65535"),
        (["lab", "--port", "٨٨٨٨"], "--port ٨٨٨٨: a number from 1 to 65535"),
        (["autoscale", "--target", "1_0"], "'1_0'"),
        (["up", "--workers", "1_0"], "'1_0'"),
        (["simulate", "--faults", "meteor"], "'meteor' is unknown; known:"),
        (["simulate", "--workers", "0"], "--workers 0"),
        (["simulate", "--policy", "best"], "'best'"),
        (["stress"], "pattern"),
        (["stress", "flood"], "'flood'"),
        (["stress", "simple", "--rate", "0"], "both must be more than 0"),
        (["stress", "simple", "--rate", "1_0"], "'1_0'"),
        (["stress", "simple", "--tasks", "0"], "0 tasks"),
        (["stress", "simple", "--tasks", "9", "--rate", "3", "--seconds", "3"], "two are enough"),
        (["stress", "simple", "--tasks", "9", "--seconds", "0"], "--seconds 0"),
        (["stress", "sustained", "--rate", "1e4", "--seconds", "3600"], "too many"),
        (["stress", "simple", "--bound", "1"], "--bound"),
        (["stress", "ramp", "--bound", "0"], "--bound 0"),
        (["stress", "ramp", "--kill-after", "1"], "--kill-after"),
        (["stress", "simple", "--kill-after", "9"], "--kill-after 9"),
        (["stress", "simple", "--kill-after", "-1"], "--kill-after"),
        (["stress", "simple", "--through", "redis"], "'redis'"),
        (["stress", "simple", "--port", "8000"], "--port"),
        (["stress", "simple", "--through", "api", "--port", "99999"], "--port 99999"),
        (["stress", "simple", "--chart", "load.doc"], "load.doc"),
        (["stress", "simple", "--chart", "no/such/folder/load.png"], "no/such/folder"),
    ],
    ids=" ".join,
)
def test_unparsable_argument_is_named_in_one_line(
    lab: Commands, words: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABKIT_REDIS_PORT", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # `up` writes its ports there
    assert named in lab.refused(*words, code=2)


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["down"],
        ["scale", "2"],
        ["kill", "worker-1"],
        ["logs"],
        ["submit", "--filters", "blur", "--out", "x"],
        ["redis", "PING"],
    ],
    ids=" ".join,
)
def test_without_a_cluster_every_command_shows_how_to_start_one(lab: Commands, words: list[str]) -> None:
    line = lab.refused(*words, code=1)
    assert "'default'" in line and f"{output.call()} up" in line


@pytest.mark.parametrize("out", ["", "out/.."], ids=repr)
def test_results_are_not_written_among_the_inputs(lab: Commands, tmp_path: Path, out: str) -> None:
    words = ("--filters", "blur", "--engine", "sequential")
    assert "--out" in lab.refused("submit", tmp_path, *words, "--out", tmp_path / out, code=2)
    assert list(tmp_path.iterdir()) == []


def test_unusable_folders_are_refused_with_the_next_step(lab: Commands, tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    (empty := tmp_path / "empty").mkdir()
    words = ("--filters", "blur", "--engine", "sequential")
    assert "choose another with --out" in lab.refused("submit", *words, "--out", file, code=2)
    assert "name another folder" in lab("submit", empty, *words, "--out", tmp_path / "out").err


@pytest.mark.parametrize("words", [["down"], ["status"], ["kill", "worker-1"]], ids=" ".join)
def test_next_step_for_a_named_cluster_includes_its_name(lab: Commands, words: list[str]) -> None:
    assert f"{output.call()} up --name second" in lab.refused(*words, "--name", "second", code=1)


@pytest.mark.parametrize("words", [["--name", "second", "PING"], ["--name=second", "PING"]], ids=" ".join)
def test_redis_accepts_a_cluster_name_before_its_arguments(lab: Commands, words: list[str]) -> None:
    assert "'second'" in lab.refused("redis", *words, code=1)
    assert "'default'" in lab.refused("redis", "PING", *words[:-1], code=1)
    assert "--name" in lab.done("redis", "--help").out


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("LLEN image_tasks --name second", "redis --name second LLEN image_tasks;"),
        ("LLEN image_tasks --name=second", "redis --name=second LLEN image_tasks;"),
        ("--backend local GET --name second key", "redis --backend local --name second GET key;"),
        ("SET note 'two words' --backend compose", "redis --backend compose SET note 'two words';"),
        ("PING --name", "--name: the name of a cluster is expected"),
    ],
)
def test_an_option_of_ours_behind_redis_words_is_refused_with_the_right_order(
    lab: Commands, monkeypatch: pytest.MonkeyPatch, words: str, right: str
) -> None:
    monkeypatch.setattr("labkit.cli.redis.run_shell", lambda *_: pytest.fail("Redis got the command"))
    without = lab.refused("redis", *shlex.split(words), code=1)
    assert "no cluster 'default' is running" in without and right in without
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert right in lab.refused("redis", *shlex.split(words), code=2)


def test_behind_two_dashes_every_word_goes_to_redis(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    def run_shell(_url: str, words: list[str], _advice: object) -> int:
        sent.append(words)
        return 0

    monkeypatch.setattr("labkit.cli.redis.run_shell", run_shell)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    lab.done("redis", "--name", "second", "--", "SET", "--name", "--backend=x")
    lab.done("redis", "--", "--", "PING")
    assert sent == [["SET", "--name", "--backend=x"], ["--", "PING"]]


def test_json_status_without_a_cluster_is_valid_json(lab: Commands) -> None:
    said = lab("status", "--json")
    assert said.code == 1
    assert said.json() == {"up": False, "cluster": "default"}


def test_a_wrong_setting_is_one_line(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_WORKRES", "3")
    assert "LABKIT_WORKRES" in lab.refused("status", code=2)


def test_missing_benchmarks_folder_is_reported_in_one_line(
    lab: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks", None)  # importing it fails
    assert "benchmarks/" in lab.refused("bench", code=1)


def test_mistake_is_reported_in_spanish_to_a_spanish_reader(lab: Commands) -> None:
    i18n.set_language("es")
    assert "statsu" in (line := lab.refused("statsu", code=2))
    assert "is status meant" not in line


# --- what a command may raise ---


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``python -m labkit down`` raise this."""

    def prepare(error: BaseException) -> None:
        def run(*_arguments: object) -> int:
            raise error

        monkeypatch.setattr(load("down"), "run", run)

    return prepare


Raising = Callable[[BaseException], None]


def test_labkit_error_is_reported_in_one_line(lab: Commands, raising: Raising) -> None:
    raising(ClusterError("{who} is gone", who="worker-1"))
    assert lab.refused("down", code=1) == "worker-1 is gone"
    raising(InvalidInput("{who} cannot be", who="worker-0"))
    assert lab.refused("down", code=2) == "worker-0 cannot be"


def test_ctrl_c_prints_nothing(lab: Commands, raising: Raising) -> None:
    raising(KeyboardInterrupt())
    assert lab("down") == (130, "", "")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by zero"), InvariantBroken("impossible"), KeyError("x")], ids=repr
)
def test_bug_keeps_its_traceback_and_is_attributed_to_labkit(raising: Raising, error: Exception) -> None:
    raising(error)
    with pytest.raises(type(error)) as caught:
        cli.main(["down"])
    assert "a bug in labkit" in "\n".join(caught.value.__notes__)


def test_missing_package_points_to_lab_py(lab: Commands, raising: Raising) -> None:
    raising(ModuleNotFoundError("No module named 'zmq'", name="zmq"))
    line = lab.refused("down", code=1)
    assert "zmq" in line and sys.executable in line and "python3 lab.py" in line


def test_missing_module_of_labkit_is_reported_as_a_bug(raising: Raising) -> None:
    raising(ModuleNotFoundError("No module named 'labkit.nothing'", name="labkit.nothing"))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["down"])


def test_without_babel_a_spanish_reader_gets_english(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    i18n.set_language("es")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "is status meant" in lab.refused("statsu", code=2)


# --- words that a shell has split ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--filters", "sharpen", "edges"), "--filters sharpen,edges"),
        (("--filters", "sharpen,", "edges", "blur"), "--filters sharpen,edges,blur"),
        (("--filters", "sharpen", "edges,blur"), "--filters sharpen,edges,blur"),
        (("photos", "--filters", "sharpen", "edges"), "--filters sharpen,edges"),
        (("photos", "--filters", "sharpen", ",edges", "--format", "jpg"), "--filters sharpen,edges"),
        (("photos", "--filters", "fit", "--param", "fit.width=8", "fit.height=6"), "--param fit.height=6"),
        (
            ("--filters", "fit", "--param", "fit.width=800", "fit.height=600"),
            "--param fit.height=600",
        ),
        (("--filters", "fit", "--param", "fit.width=800", "height=600"), "--param fit.height=600"),
        (("--filters", "blur,resize", "--param", "resize.width=800", "height=600"), "resize.height=600"),
        (("--filters", "sharpen", "Edges"), "--filters sharpen,edges"),
        (("photos", "--filters", "sharpen,", "BLUR,", "Edges"), "--filters sharpen,blur,edges"),
    ],
)
def test_a_filter_that_a_space_has_split_off_is_put_right(
    lab: Commands, words: tuple[str, ...], says: str
) -> None:
    assert says in lab.refused("submit", *words, "--out", "out", "--engine", "sequential", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--filters", "sharpen", "edges"), "--filters sharpen,edges"),
        (("--filters", "fit", "--param", "fit.width=8", "fit.height=6"), "--param fit.height=6"),
        (("sharpen", "edges", "--out", "out"), "--filters sharpen,edges"),
        (("photos", "sharpen", "edges"), "--filters sharpen,edges"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_split_filter_is_put_right_before_a_missing_option(
    lab: Commands, words: tuple[str, ...], says: str
) -> None:
    assert says in lab.refused("submit", *words, code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--filters", "[sharpen,edges]"), "write sharpen,edges"),
        (("--filters", "Sharpen, edges,BLUR"), "write sharpen,edges,blur"),
        (("--filters", "blur=3"), "write --filters blur --param blur.radius=3"),
        (("--filters", "blur:2.5"), "write --filters blur --param blur.radius=2.5"),
        (("--filters", "sharpen(3)"), "write --filters sharpen --param sharpen.intensity=3"),
        (("--filters", "sharpen.intensity=3"), "write --filters sharpen --param sharpen.intensity=3"),
        (
            ("--filters", "fit", "--param", "fit.width=8,fit.height=6"),
            "--param fit.width=8 --param fit.height=6",
        ),
        (
            ("--filters", "fit", "--param", "fit.width=8 fit.height=6"),
            "--param fit.width=8 --param fit.height=6",
        ),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_filters_and_parameters_in_another_form_are_put_right_as_a_whole(
    lab: Commands, words: tuple[str, ...], says: str
) -> None:
    line = lab.refused("submit", *words, "--out", "out", "--engine", "sequential", code=2)
    assert line.endswith(says)


@pytest.mark.parametrize("given", ["sharpen+edges", "Sharpen;Edges", "sharpen|edges", "[sharpen/edges]"])
def test_filters_between_other_marks_are_put_right(lab: Commands, given: str) -> None:
    line = lab.refused("submit", "--filters", given, "--out", "out", "--engine", "sequential", code=2)
    assert repr(given) in line and line.endswith("write sharpen,edges")


def test_filters_may_stand_between_spaces_in_one_word(lab: Commands, tmp_path: Path) -> None:
    words = ("--out", tmp_path, "--engine", "sequential", "--json")
    said = lab.done("submit", "--filters", "sharpen edges", *words).json()
    assert [step["filter"] for step in said["steps"]] == ["sharpen", "edges"]


def test_every_missing_option_is_named_and_stands_unbracketed_in_the_usage(lab: Commands) -> None:
    line = lab.refused("submit", "photos", code=2)
    assert "--filters, --out" in line and "submit --help" in line
    usage = lab.done("submit", "--help").out.partition("\n\n")[0]
    assert "--filters A,B" in usage and "[--filters" not in usage and "[--out" not in usage


def test_names_of_faults_may_stand_between_spaces_or_commas(lab: Commands) -> None:
    few = ("simulate", "--tasks", "5", "--json")
    with_commas = lab.done(*few, "--faults", "kill,pause").json()
    with_spaces = lab.done(*few, "--faults", "kill", "pause").json()
    assert with_spaces["faults"] == with_commas["faults"] == ["kill", "pause"]
    assert "kil" in lab.refused("faults", "--only", "kill-storm,kil", code=2)


def test_two_equal_ports_are_named_as_they_were_given(lab: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    line = lab.refused("up", "--client-port", "6001", "--worker-port", "6001", code=2)
    assert "--client-port and --worker-port are both 6001" in line
    monkeypatch.setenv("LABKIT_EVENT_PORT", "6001")
    assert "LABKIT_EVENT_PORT and --redis-port" in lab.refused("up", "--redis-port", "6001", code=2) or (
        "--redis-port and LABKIT_EVENT_PORT" in lab.refused("up", "--redis-port", "6001", code=2)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("REDIS_URL", "redis://:hunter2"), ("REDIS_URL", "unix://ana:hunter2@run/s"), ("LABKIT_HOST", "a:1")],
)
def test_a_setting_that_no_command_can_use_is_refused_by_each(
    lab: Commands, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for words in (["up"], ["status"], ["status"], ["redis", "PING"], ["broker"], ["doctor"]):
        line = lab.refused(*words, code=2)
        assert line.startswith(name) and "hunter2" not in line


# --- output ---


def test_a_terminal_does_not_obey_what_a_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    output.line("a file called \x1b[31mred\x07 and ñ\nnext")
    output.complain("\x9b2J")
    out, err = capsys.readouterr()
    assert out == "a file called \\x1b[31mred\\x07 and ñ\nnext\n" and err == "\\x9b2J\n"


def test_closed_pipe_is_no_error() -> None:
    script = f"{sys.executable} -m labkit simulate --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("{141\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    script = f"{sys.executable} -m labkit simulate --json > /dev/full"
    ran = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and "No space" in ran.stderr


def test_closed_outputs_are_no_error() -> None:
    script = f"{sys.executable} -m labkit --help >&- 2>&-"
    assert subprocess.run(["bash", "-c", script], cwd=ROOT, check=False).returncode == 0


def test_unprintable_characters_do_not_stop_a_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "labkit", "doctor"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert ran.stderr == "" and "ok" in ran.stdout


def test_commands_are_shown_in_the_form_the_reader_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(prefix: Path, activated: str) -> str:
        monkeypatch.setattr(sys, "prefix", str(prefix))
        monkeypatch.setenv("VIRTUAL_ENV", activated)
        output.call.cache_clear()
        return output.call()

    monkeypatch.chdir(ROOT)
    own = ROOT / ".venv"
    try:
        assert call(own, "") in ("python3 lab.py", "py lab.py")
        assert output.as_called("is it up? python -m labkit up").endswith(" lab.py up")
        assert call(own, str(own)) == "python -m labkit"
        assert call(Path("/usr"), "") == "python -m labkit"
        monkeypatch.chdir(ROOT / "tests")
        assert call(own, "").endswith(f" {Path('..', 'lab.py')}")
    finally:
        output.call.cache_clear()


# --- the price of a start ---


def test_broker_starts_without_modules_it_does_not_need() -> None:
    unwanted = ["argparse", "rich", "numpy", "cv2", "redis", "babel", "matplotlib", "psutil"]
    code = (
        "import sys; from labkit.cli import main; main(['broker']); "
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "LABKIT_TOKEN_FILE" in ran.stderr
    assert ran.stdout == "[]\n"


def test_list_of_commands_imports_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "__import__", lambda *names: pytest.fail(f"imports {names[0]}"))
    assert find("demo")[0] == "labkit.cli.programs"


def test_ctrl_c_inside_exec_exits_with_130() -> None:
    """Python makes dataclasses that way; a Ctrl-C just then used to end labkit by the signal."""
    code = (
        "import sys, labkit.cli, labkit.__main__ as door\n"
        "def struck():\n"
        "    try: exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt: return 130\n"
        "labkit.cli.main = struck\n"
        "sys.exit(door.main())"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 130
