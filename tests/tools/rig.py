"""A broker and workers for tests: real processes on free ports, one folder, and nothing left behind.

There is no supervisor here. A test kills, freezes and starts what it wants, by name; ``revive`` is all the
restarting there is, and happens when a test calls it. ``close`` ends every process that the rig has started,
by its number, frozen or not.

``ThreadBroker`` is a broker in a thread of this process, for tests that look into its tables. (A network that
can be cut, and be slow, is `labkit.faults.network.Network`.)
"""

from __future__ import annotations

import gc
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import psutil
import zmq

from labkit.broker.service import Broker
from labkit.client.client import Client
from labkit.client.futures import TaskFuture
from labkit.cluster import ports
from labkit.cluster.history_file import EventFile
from labkit.core.history import Event, History
from labkit.core.protocol import exit_codes, wire
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Credentials, Token, of_folder
from labkit.security.key_store import CLIENT, KeyFolder
from labkit.transport import sockets
from labkit.transport.poller import readable
from tests.tools.waiting import require, wait_until

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
T = TypeVar("T")

WORK = '''
"""Jobs of the tests: each does one thing that no job should do."""
import os, time

def odd_text():
    raise ValueError("a file called \\udcff")

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("I do not say what I am")

def mute():
    raise Mute

def leave():
    raise SystemExit(3)

def big(size):
    return bytes(size)

def pid():
    return os.getpid()

def weigh(data):
    time.sleep(0.005)
    return len(data)

def crash_once(path):
    """Crash the first worker that runs this, return in the second."""
    if os.path.exists(path):
        return os.getpid()
    open(path, "w").close()
    time.sleep(0.1)
    os._exit(9)

def wait_for(path, limit_s=30.0):
    """Return when the file ``path`` exists."""
    until = time.monotonic() + limit_s
    while not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.005)
    return os.getpid()

def nest(address, secret, depth=1, how="result"):
    """Submit a task to the same cluster and wait for it, as deep as that."""
    import concurrent.futures
    from labkit.client.client import Client
    from labkit.security.credentials import Token
    if not depth:
        return 0
    with Client(address, Token(secret)) as client:
        if how == "map":
            from labkit.client.futures import Batch
            batch = Batch(client)
            batch.submit([client.prepare("work:nest", (address, secret, depth - 1, how), {})])
            return 1 + next(batch.results())
        future = client.submit("work:nest", address, secret, depth - 1, how)
        if how == "close":
            client.close(wait=True)
        if how == "wait":
            concurrent.futures.wait([future])
        if how == "as_completed":
            future, = concurrent.futures.as_completed([future])
        if how == "short wait":
            done, _ = concurrent.futures.wait([future], timeout=5.0)
            return 1 + len(done) if future.cancel() else -1
        return 1 + future.result()

def mark(path):
    """Leave one line in ``path``: how often a task ran."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")
'''


class Rig:
    """One cluster of processes. ``Rig(path, lease_s=1)``: rules hold for broker, workers and clients.

    With ``keys`` it uses CURVE: its clients are the client ana, its workers those in the folder.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 0,
        policy: str = "least_busy",
        keys: KeyFolder | None = None,
        **rules: Any,
    ) -> None:
        self.folder = folder
        self.rules = Rules(**rules)
        self.token = secrets.token_hex(32)
        self.keys = keys
        self.credentials: Credentials = Token(self.token) if keys is None else of_folder(keys, CLIENT, "ana")
        self.broker: subprocess.Popen[bytes] | None = None
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._all: list[subprocess.Popen[bytes]] = []
        self._clients: list[Client] = []
        self._policy = policy
        self._rules = {f"LABKIT_{name.upper()}": str(value) for name, value in rules.items()}
        (folder / "work").mkdir(parents=True)
        (folder / "work" / "__init__.py").write_text(WORK)
        self.token_file = folder / "token"
        self.token_file.write_text(self.token)
        self.ports: dict[str, int] = {}
        self._events = EventFile(folder / "events.jsonl")
        try:
            self.start_broker()
            for number in range(1, workers + 1):
                self.start_worker(f"worker-{number}")
            if workers:
                self.wait_for_workers(*self.workers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- processes ------------------------------------------------------------------------------------------

    def start_broker(self) -> None:
        """Start a broker, on the same ports as the last one if there was one; return when it serves."""
        fixed = bool(self.ports)
        announced = self.folder / "broker.json"
        for _ in range(5):
            if not fixed:
                self.ports = ports.choose(HOST, {}, usual=False)
            announced.unlink(missing_ok=True)
            self.broker = self.spawn("broker", ["labkit", "broker"], self.broker_environment())
            code = wait_until(
                lambda: announced.exists() or (self.broker and self.broker.poll()), 15, "the broker to serve"
            )
            if code is True:
                return
            if code != exit_codes.PORT_IN_USE or fixed:
                break
        raise AssertionError(f"the broker ended with {code}:\n{self.log('broker')}")

    def broker_environment(self) -> dict[str, str]:
        """Return what tells a broker that it is this rig's."""
        return {
            "LABKIT_CLIENT_PORT": str(self.ports["client"]),
            "LABKIT_WORKER_PORT": str(self.ports["worker"]),
            "LABKIT_EVENT_PORT": str(self.ports["event"]),
            "LABKIT_FOLDER": str(self.folder),
            "LABKIT_POLICY": self._policy,
            **self._proof(),
            **self._rules,
        }

    def _proof(self) -> dict[str, str]:
        if self.keys is None:
            return {"LABKIT_TOKEN_FILE": str(self.token_file)}
        return {"LABKIT_KEYS": str(self.keys.path)}

    def start_worker(self, name: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker; ``settings`` are more of its environment (WORKER_CAPABILITIES="blur")."""
        self._settings[name] = settings
        process = self.spawn(
            name,
            ["workers"],
            {
                "WORKER_ID": name,
                "LABKIT_BROKER": self.worker_address,
                "LABKIT_WORK": str(self.folder),
                **self._proof(),
                **self._rules,
                **settings,
            },
        )
        self.workers[name] = process
        return process

    def spawn(self, name: str, module: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start ``python -m module`` with this environment; its output goes to a log by ``name``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._all.append(process)
        return process

    def log(self, name: str) -> str:
        """Return what a process has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def revive(self) -> bool:
        """Start again each worker that has ended, like a supervisor; False, for use in conditions."""
        for name, process in list(self.workers.items()):
            if process.poll() is not None:
                self.start_worker(name, **self._settings[name])
        return False

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        """SIGKILL; returns when the process is gone."""
        assert process is not None
        process.kill()
        process.wait(10)

    def freeze(self, process: subprocess.Popen[bytes] | None) -> None:
        """SIGSTOP; returns when every thread stands still."""
        assert process is not None
        require(hasattr(signal, "SIGSTOP"), "a signal that freezes a process")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 5, "it to freeze")

    def thaw(self, process: subprocess.Popen[bytes] | None) -> None:
        """SIGCONT."""
        assert process is not None
        process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        for process in self._all:
            if process.poll() is None:
                process.kill()  # the frozen die of it too
        for process in self._all:
            process.wait(10)

    # --- speaking with it -----------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"tcp://{HOST}:{self.ports['client']}"

    @property
    def worker_address(self) -> str:
        return f"tcp://{HOST}:{self.ports['worker']}"

    @property
    def event_address(self) -> str:
        return f"tcp://{HOST}:{self.ports['event']}"

    def client(self, name: str = "", **rules: Any) -> Client:
        """Return a new client; the rig closes it. ``rules`` are this client's own."""
        own = Rules(**{**{name: getattr(self.rules, name) for name in Rules.__slots__}, **rules})
        client = Client(self.address, self.credentials, name=name, rules=own)
        self._clients.append(client)
        return client

    def blocked(self, client: Client, gate: Path) -> TaskFuture:
        """Return a task that has started and keeps its worker busy until ``gate`` exists."""
        future = client.submit("work:wait_for", str(gate))
        self.wait_for_event("started", task=future.task_id)
        return future

    def status(self) -> dict[str, Any]:
        """Return the broker's picture, asked by a client of the rig's own."""
        if not self._clients:
            self.client("rig")
        return self._clients[0].status()

    def counters(self) -> dict[str, int]:
        """Return what the broker has counted."""
        counters: dict[str, int] = self.status()["counters"]
        return counters

    def wait_for_workers(self, *names: str, timeout_s: float = 15.0) -> None:
        """Wait until each of these workers is living."""

        def living() -> bool:
            rows = self.status()["workers"]
            return {row["id"] for row in rows if row["status"] in ("ready", "busy")} >= set(names)

        wait_until(living, timeout_s, f"{', '.join(names)} to join")

    # --- what happened --------------------------------------------------------------------------------------

    def history(self) -> History:
        """Return everything that the broker has recorded."""
        return self._events.history()

    def events(self, kind: str = "", worker: str = "", task: str = "") -> list[Event]:
        """Return the recorded events of this kind, about this worker, about this task."""
        return [
            event
            for event in self.history().events
            if (not kind or event.kind == kind)
            and (not worker or event.worker == worker)
            and (not task or event.task == task)
        ]

    def wait_for_event(self, kind: str, worker: str = "", task: str = "", timeout_s: float = 10.0) -> Event:
        """Return the first such event, once it is recorded."""
        found = wait_until(
            lambda: self.events(kind, worker, task), timeout_s, f"{kind} {worker}{task[:8]} in the history"
        )
        return found[0]

    def check_outcomes(self, futures: Sequence[Future[Any]]) -> None:
        """Each of these tasks has exactly one outcome on record, and the history breaks no promise."""
        tasks = {future.task_id for future in futures}  # type: ignore[attr-defined]

        def ended() -> list[str]:
            return [e.task for e in self.history().events if e.kind in ("done", "failed", "cancelled")]

        wait_until(lambda: tasks <= set(ended()), 5, "every outcome in the history")
        outcomes = [task for task in ended() if task in tasks]
        assert len(outcomes) == len(tasks), "a task with two outcomes"
        assert not (found := self.history().check(ended=False)), "\n".join(map(str, found))


def results(futures: Iterable[Future[T]], timeout_s: float = 30.0) -> list[T]:
    """Return all results, in order; within one time for all."""
    futures = list(futures)
    wait_until(lambda: all(future.done() for future in futures), timeout_s, "all futures")
    return [future.result(0) for future in futures]


class ThreadBroker:
    """A broker in a thread of this process, on free ports; ``scheduler`` may be looked at."""

    def __init__(
        self, recorder_path: Path | None = None, keys: KeyFolder | None = None, **rules: Any
    ) -> None:
        token = Token(secrets.token_hex(32))
        self.credentials: Credentials = token if keys is None else of_folder(keys, CLIENT, "ana")
        # The tests run in this process, too: its size is not the broker's.
        self.rules = Rules(**{"max_unseen_bytes": 1 << 50, **rules})
        chosen = ports.choose(HOST, {}, usual=False)
        self.ports = {name: chosen[name] for name in ("client", "worker", "event")}
        self.broker = Broker(
            host=HOST,
            client_port=self.ports["client"],
            worker_port=self.ports["worker"],
            event_port=self.ports["event"],
            known=keys or token,
            rules=self.rules,
            recorder_path=recorder_path,
        )
        self.scheduler = self.broker.scheduler
        self._context: zmq.Context[Any] = zmq.Context()
        self._peers: list[zmq.Socket[bytes]] = []
        self._switch_s, self._thresholds = sys.getswitchinterval(), gc.get_threshold()
        self.thread = threading.Thread(target=self.broker.run, name="broker", daemon=True)
        self.thread.start()

    def __enter__(self) -> ThreadBroker:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close(linger=0)
        self._context.term()
        self.broker.stop()
        self.thread.join(10)
        assert not self.thread.is_alive(), "the broker does not stop"
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)
        sys.setswitchinterval(self._switch_s)

    def address(self, role: str) -> str:
        """Return where peers of this role connect: client, worker or event."""
        return f"tcp://{HOST}:{self.ports[role]}"

    def peer(self, role: str) -> Peer:
        """Return a bare socket that has authenticated and sends what a test wants."""
        return bare_peer(self._context, self._peers, self.address(role), role, self.credentials)


class Peer:
    """A DEALER without a session: it sends and receives single messages."""

    def __init__(self, socket: zmq.Socket[bytes], kinds: frozenset[type]) -> None:
        self.socket = socket
        self._kinds = kinds
        self._heard: list[Any] = []

    def send(self, *messages: Any) -> None:
        """Send these messages, coalesced as the real sides do it."""
        for envelope, frames in wire.envelopes(messages):
            self.throw([envelope, *frames])

    def throw(self, frames: Sequence[Any]) -> None:
        """Send these frames, whatever they are."""
        self.socket.send_multipart(frames)

    def hear(self, kind: type[T], timeout_s: float = 5.0, where: Callable[[T], bool] = lambda _: True) -> T:
        """Return the next message of this kind, dropping others."""

        def found() -> list[T]:
            while readable(self.socket):
                envelope, frames = sockets.receive(self.socket)
                self._heard += wire.decode(envelope, frames, self._kinds)
            while self._heard:
                message = self._heard.pop(0)
                if type(message) is kind and where(message):
                    return [message]
            return []

        return wait_until(found, timeout_s, f"a {kind.__name__}")[0]

    def close(self) -> None:
        """Hang up."""
        self.socket.close(linger=0)


def bare_peer(
    context: zmq.Context[Any],
    opened: list[zmq.Socket[bytes]],
    address: str,
    role: str,
    credentials: Credentials,
) -> Peer:
    """Return a connected `Peer`; ``opened`` keeps its socket for the cleanup."""
    socket = sockets.dealer(context, role, credentials, 256 << 20)
    opened.append(socket)
    socket.connect(address)
    return Peer(socket, m.TO_CLIENT if role == sockets.CLIENT_ROLE else m.TO_WORKER)
