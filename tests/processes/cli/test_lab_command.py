"""``python -m labkit lab`` as a teacher runs it: a real JupyterLab with a separate home."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application

from labkit.cli import lab, main, own_notebooks
from labkit.core.errors import PortInUse
from tests.tools.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
START_S = 60.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)(/\S*index\.ipynb)\?token=(\S+)")
DIRECT = build_opener(ProxyHandler({}))


class Lab:
    """A running lab: its process, its port, the path of its start page, its token."""

    def __init__(self, process: subprocess.Popen[str], port: int, start: str, token: str) -> None:
        self.process, self.port, self.start, self.token = process, port, start, token

    def ask(
        self, path: str, token: str | None = None, data: bytes | None = None, method: str | None = None
    ) -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"token {token}"}
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with DIRECT.open(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""


@contextmanager
def running_lab(home: Path, *words: str, browser: str = "") -> Iterator[Lab]:
    # The child must react to Ctrl-C as in a terminal, even if the tests were started with SIGINT ignored.
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit", "lab", *([] if browser else ["--no-browser"]), *words],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "HOME": str(home),
            "TMPDIR": str(home),
            "LABKIT_HOME": str(home / "labkit"),
            "PYTHONPATH": str(ROOT),
            "BROWSER": browser,
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    try:
        assert process.stdout is not None
        address = ADDRESS.search(_first_line(process.stdout))
        assert address is not None
        running = Lab(process, int(address[1]), address[2], address[3])
        wait_until(
            lambda: process.poll() is not None or running.ask("/api/status", running.token)[0] == 200,
            START_S,
            "an answer",
        )
        assert process.poll() is None, process.communicate()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def kernel_of(connection: Path) -> psutil.Process:
    """Return the process of the kernel with this connection file, when it is ready to compute."""
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    client.start_channels(hb=False)  # with heartbeats, a kernel that starts slowly would count as dead
    try:
        client.kernel_info()
        client.get_shell_msg(timeout=START_S)
        found = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(connection) in (process.info["cmdline"] or ())
        ]
    finally:
        client.stop_channels()
    assert len(found) == 1
    return found[0]


def _first_line(stream: IO[str]) -> str:
    return stream.readline()


@pytest.mark.parametrize(("lang", "line"), [("es", "El curso está"), ("en", "The course is")])
def test_start_page_needs_the_token_and_ctrl_c_ends_every_process(
    tmp_path: Path, lang: str, line: str
) -> None:
    with running_lab(tmp_path, "--lang", lang) as running:
        assert running.start == f"/lab/tree/{lang}/index.ipynb"
        assert running.ask("/api/contents")[0] == 403
        assert running.ask("/api/contents", "wrong")[0] == 403
        status, page = running.ask(f"/api/contents/{lang}/index.ipynb?content=0", running.token)
        assert status == 200 and json.loads(page)["type"] == "notebook"
        assert running.ask(running.start, running.token)[0] == 200
        others = [
            c.laddr.ip
            for c in psutil.Process(running.process.pid).net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
        assert set(others) == {"127.0.0.1"}
        assert not [word for word in psutil.Process(running.process.pid).cmdline() if running.token in word]
        assert running.ask("/api/kernels", running.token, b'{"name": "python3"}')[0] == 201
        runtime = tmp_path / ".local/share/jupyter/runtime"
        (connection,) = runtime.glob("kernel-*.json")
        kernel = kernel_of(connection)
        environment = kernel.environ()
        assert environment["LABKIT_LANG"] == lang and str(ROOT) in environment["PYTHONPATH"]

        running.process.send_signal(signal.SIGINT)
        _output, complaints = running.process.communicate(timeout=START_S)
        assert running.process.returncode == 0 and "Parent appears to have exited" not in complaints
        assert not kernel.is_running(), "the server waits for its kernels"
        assert not connection.exists() and not [*runtime.glob("jpserver-*")]


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the browser")
def test_browser_opens_the_start_page(tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    with running_lab(tmp_path, "--lang", "es", browser=str(browser)) as running:
        wait_until(opened.exists, START_S, "the browser to be opened")
        page = Path(opened.read_text().removeprefix("file://")).read_text(encoding="utf-8")
        assert running.start in page and running.token in page


def test_markdown_is_rendered_and_no_news_is_fetched(tmp_path: Path) -> None:
    with running_lab(tmp_path) as running:
        status, page = running.ask("/lab/api/settings/@jupyterlab/docmanager-extension:plugin", running.token)
        assert status == 200
        assert json.loads(page)["schema"]["properties"]["defaultViewers"]["default"] == {
            "markdown": "Markdown Preview"
        }
        _status, page = running.ask(
            "/lab/api/settings/@jupyterlab/apputils-extension:notification", running.token
        )
        assert json.loads(page)["schema"]["properties"]["fetchNews"]["default"] == "false"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_taken_port_is_reported_in_one_line(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--port", str(taken)]) == 1
    assert capsys.readouterr().err == (
        f"port {taken} of 127.0.0.1 is in use; choose another with --port, or end the program that uses it\n"
    )


@pytest.mark.parametrize("words", [["--lang", "fr"], ["--port", "0"], ["--port", "x"], ["--port", "70000"]])
def test_unparsable_arguments_start_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_jupyterlab_is_reported_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Absent:
        def find_spec(self, name: str, *_rest: object) -> None:
            if name.split(".")[0] == "jupyterlab":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.split(".")[0] == "jupyterlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    assert main(["lab", "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert "lacks the package jupyterlab" in said and "lab.py" in said


def test_missing_notebooks_are_reported_with_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    assert main(["lab"]) == 1
    assert "the folder notebooks/ is not here" in capsys.readouterr().err


def test_saved_notebook_goes_to_the_learners_copy_and_is_trusted(tmp_path: Path) -> None:
    committed = ROOT / "notebooks/es/day1_threads.ipynb"
    before = committed.read_bytes()
    with running_lab(tmp_path, "--lang", "es") as running:
        path = "/api/contents/es/day1_threads.ipynb"
        status, page = running.ask(path, running.token)
        model = json.loads(page)
        assert status == 200
        trusted = [c["metadata"]["trusted"] for c in model["content"]["cells"] if c["cell_type"] == "code"]
        assert trusted and all(trusted)
        model["content"]["cells"][0]["source"] = "written by a learner"
        data = json.dumps({"type": "notebook", "content": model["content"]}).encode()
        assert running.ask(path, running.token, data, "PUT")[0] == 200
    copy = tmp_path / "labkit/course/es/day1_threads.ipynb"
    assert committed.read_bytes() == before and "written by a learner" in copy.read_text(encoding="utf-8")
    with running_lab(tmp_path, "--lang", "es", "--fresh"):
        assert copy.read_bytes() == own_notebooks.without_outputs(before) != before
        kept = copy.with_name("day1_threads_mine_1.ipynb")
        assert "written by a learner" in kept.read_text(encoding="utf-8")


def test_usual_port_in_use_is_skipped(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", lab.USUAL_PORT))
            listener.listen(1)
        except OSError:
            pass  # the port is already in use
        with running_lab(tmp_path) as running:
            assert running.port != lab.USUAL_PORT


def test_only_the_courses_notebooks_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("source/day.py", "es/day.ipynb", "en/day.ipynb", "es/broken.ipynb", "en/foreign.ipynb"):
        file = tmp_path / "notebooks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (tmp_path / "notebooks/source/broken.py").touch()
    (tmp_path / "notebooks/es/broken.ipynb").write_text("no notebook")
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    signed: list[object] = []
    lab.trust_the_course(SimpleNamespace(sign=signed.append))
    assert len(signed) == 2


class LateServer:
    """A server that has chosen a port and finds it taken when it wants to listen, as JupyterLab does."""

    def __init__(self, taken: int) -> None:
        self.ip, self.port = "127.0.0.1", taken
        self.io_loop = IOLoop(make_current=False)
        self.http_server = HTTPServer(Application())
        self.io_loop.add_callback(self._bind)

    def _bind(self) -> None:
        try:
            socket.create_server((self.ip, self.port)).close()
        except OSError:
            sys.exit(1)


@pytest.fixture
def late() -> Iterator[LateServer]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        server = LateServer(holder.getsockname()[1])
        yield server
        server.http_server.stop()
        server.io_loop.close()


def test_port_taken_at_the_last_moment_is_replaced_before_it_is_shown(late: LateServer) -> None:
    taken = late.port
    lab._listen(late, None)
    assert late.port > taken
    with socket.create_connection(("127.0.0.1", late.port), timeout=5):
        pass  # the server listens


def test_requested_port_is_not_replaced(late: LateServer) -> None:
    with pytest.raises(PortInUse, match=str(late.port)):
        lab._listen(late, late.port)


def said_by(program: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    return ran.returncode, ran.stdout, ran.stderr


def test_forgotten_thread_does_not_delay_the_exit() -> None:
    program = (
        "import threading; from labkit.cli import lab\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "print('done', end=''); lab._leave(0.2); print('and never here')"
    )
    assert said_by(program) == (0, "done", "")


def test_threads_that_end_by_themselves_are_awaited() -> None:
    program = (
        "import threading, time; from labkit.cli import lab\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('ended'))).start()\n"
        "lab._leave(20.0); print('left')"
    )
    assert said_by(program) == (0, "ended\nleft\n", "")
