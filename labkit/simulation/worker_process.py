"""One process of a simulated worker: the real WorkerSession, and computing that only takes time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Protocol

from labkit.core.peers import client_events as ce
from labkit.core.peers import worker_events as we
from labkit.core.peers import worker_session as ws
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.peers.session import Connect, Send, Tick
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.clients import ClientProcess
from labkit.simulation.connection import Link
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network
from labkit.simulation.process import Process
from labkit.simulation.violation import violated
from labkit.simulation.work import Work

WATCHDOG_SLACK: Final = 1.5
"""A process whose interpreter lock is held ends after one lease, or this many times that."""
STALL_EVERY_S: Final = 0.05
"""The rest of the process runs for so long between two times at which a task keeps the lock."""
ANNOUNCE_AFTER_S: Final = 0.001
"""An attempt that has run for this long is reported as begun, as the real shell does."""


class Computed:
    """What the workers of a run record of their computing; ``ground_truth.py`` reads it."""

    def __init__(self) -> None:
        self.begun: dict[bytes, list[WorkerProcess]] = {}  # task -> where it began, or was announced
        self.killed: list[tuple[float, WorkerProcess]] = []  # from outside: when, and which
        self.overran: Counter[bytes] = Counter()  # task -> ended runs that had outlasted the lease


class Host(Protocol):
    """What a worker's process needs of the ``WorkerSlot`` in which it lives."""

    name: str
    rules: Rules
    link: Link
    capabilities: frozenset[str]
    compute_slots: int
    works: Mapping[bytes, Work]
    computed: Computed
    slowness: float
    make_session: Callable[..., ws.WorkerSession]
    quiet_process: Callable[[Rules], QuietProcess]

    def open_nest(self, work: Work, outcome: Callable[[str], None]) -> ClientProcess:
        """Return a client that submits the nested task; ``outcome`` gets the kind of its outcome."""

    def crash(self) -> None:
        """The process dies of what it computes."""

    def exited(self, code: int) -> None:
        """The process left by itself."""


class Computing:
    """An attempt that a worker computes."""

    __slots__ = (
        "attempt", "lease_s", "left_s", "nest", "nest_ended", "ran_s", "reported", "since", "stalls",
        "started_at", "task", "work",
    )  # fmt: skip

    def __init__(self, task: m.Task, work: Work, duration_s: float, now: float) -> None:
        self.task = task.task
        self.attempt = task.attempt
        self.lease_s = task.lease_s
        self.work = work
        self.left_s = duration_s
        self.ran_s = 0.0
        self.nest: ClientProcess | None = None  # the client that the task has opened
        self.nest_ended = ""  # the kind of the outcome of the nested task
        self.stalls = 0  # how often it will still keep the interpreter lock for a while
        self.started_at = now
        self.since = now
        self.reported = False

    @property
    def waits(self) -> bool:
        """Whether it does nothing but wait for the task that it has submitted."""
        return self.nest is not None and self.left_s <= 0.0

    @property
    def tells(self) -> bool:
        """Whether it tells its client itself what it waits for."""
        return self.work.nest_kind[0] == "result"


class WorkerProcess(Process):
    """See the module's head."""

    may_send = m.FROM_WORKER

    def __init__(self, host: Host, loop: Loop, network: Network, random: Random) -> None:
        super().__init__(host.name, loop, network, random, host.link)
        self.host = host
        self.session: ws.WorkerSession = host.make_session(
            host.name, host.capabilities, host.compute_slots, random.randrange(2, 99999), host.rules,
            lambda: random.randbytes(8),
        )  # fmt: skip
        self.waiting: deque[m.Task] = deque()
        self.computing: dict[tuple[bytes, int], Computing] = {}
        # How late its I/O thread looks at reports: at once, or as on a busy machine, with others then.
        self._looks_after_s = random.choice((0.0, 0.0, 0.002))
        self._reports: list[we.Finished | we.Raised] = []
        self.locked_by: bytes | None = None  # the task that keeps the interpreter lock
        self._begun: set[bytes] = set()
        self._processor_s = 0.0  # used while a task kept the lock; other use does not matter here
        self._quiet = host.quiet_process(host.rules)
        self._reporter: ClientProcess | None = None
        self._looks = False  # at its threads
        self._frozen_at = 0.0
        self._generation = 0  # raised by a freeze: what was scheduled before it does not count
        self.performers = {
            Send: self.send, Connect: self.connect, we.Run: self._run, we.Withdraw: self._withdraw,
            we.Exit: self._exit,
        }  # fmt: skip

    @property
    def instance(self) -> bytes:
        """The id of this process, which stays the same through all its epochs."""
        return self.session.instance

    def start(self) -> None:
        """Begin to live, with a look at the clocks, as the real shell does."""
        super().start()
        self.feed(self.tick())

    def send(self, action: Send) -> None:
        """Send a message; an announced start is evidence if this process dies."""
        if type(action.message) is m.Started:
            self._begin(action.message.task)
        super().send(action)

    def _begin(self, task: bytes) -> None:
        if task not in self._begun:
            self._begun.add(task)
            self.host.computed.begun.setdefault(task, []).append(self)

    # --- computing ------------------------------------------------------------------------------------------

    def _run(self, action: we.Run) -> None:
        task, attempt = key = action.task.task, action.task.attempt
        if key in self.computing or any((other.task, other.attempt) == key for other in self.waiting):
            why = f"{self.name} got attempt {attempt} of {task.hex()} while it had it"
            violated("held", self.loop.now, why)
        self.waiting.append(action.task)
        self.loop.after(0.00002, self._fill)  # the threads wake up a moment later

    def _withdraw(self, action: we.Withdraw) -> None:
        for task in self.waiting:
            if (task.task, task.attempt) == (action.task, action.attempt):
                self.waiting.remove(task)
                self.handle(we.Withdrawn(action.task, action.attempt))
                return

    def _fill(self) -> None:
        """Start attempts that wait, as long as there is a free compute slot."""
        host = self.host
        while self.alive and not self.frozen and self.waiting and len(self.computing) < host.compute_slots:
            task = self.waiting.popleft()
            work = host.works[task.task]
            computing = Computing(task, work, work.compute_s * host.slowness, self.loop.now)
            self.computing[task.task, task.attempt] = computing
            self._begin(task.task)
            if work.behaviour == "locks":
                self._lock(task.task)
                self.loop.after(task.lease_s * self.random.uniform(1.0, WATCHDOG_SLACK), self._bite)
            elif work.behaviour == "stalls":
                computing.stalls = self.random.choice((2, 3))
                self._stall(computing, self._generation)
            else:
                if work.behaviour == "nests":
                    self._open_nest(computing)
                self._schedule(computing)

    def _open_nest(self, computing: Computing) -> None:
        """Let a task submit another one and, a moment later, report that it waits for it."""
        computing.nest = nest = self.host.open_nest(
            computing.work, lambda kind: self._nest_over(computing, kind)
        )
        computing.left_s = computing.work.nest_kind[1]
        nest.start()
        if computing.tells:
            self.loop.after(0.2, self._tell_wait, computing, nest)
        elif not self._looks:
            self._looks = True
            self._look_at_threads()

    def _nests(self) -> list[Computing]:
        return [computing for computing in self.computing.values() if computing.nest is not None]

    def _look_at_threads(self) -> None:
        """Do what ``labkit.client.process_waits`` does: look at the process, and report what is found."""
        nests = self._nests()
        self._looks = self.alive and not all(computing.tells for computing in nests)
        if not self._looks:
            return
        self.loop.after(self.host.rules.heartbeat_s / 2, self._look_at_threads)
        if self.frozen:
            return
        threads = {
            number: "waits" if computing.waits else None
            for number, computing in enumerate(self.computing.values())
        }
        open_by = {
            task: computing.nest
            for computing in nests
            if computing.nest is not None
            for task in computing.nest.session.open
        }
        tasks = frozenset((computing.task, computing.attempt) for computing in nests if not computing.tells)
        reporters = list(open_by.values())
        reporter = self._reporter or (reporters[0] if reporters else None)
        stays = reporter in reporters
        for waits in self._quiet.look(threads, tasks, tuple(open_by) if stays else (), self.loop.now):
            if reporter is not None and reporter.alive:
                reporter.feed(waits)
        self._reporter = reporter if stays else None

    def _tell_wait(self, computing: Computing, nest: ClientProcess) -> None:
        if nest.alive and nest.session.open:
            nest.feed(ce.WaitsNow(computing.task, computing.attempt, tuple(nest.session.open)))

    def _nest_over(self, computing: Computing, kind: str) -> None:
        """The nested task has its outcome."""
        key = computing.task, computing.attempt
        if not self.alive or self.computing.get(key) is not computing or computing.nest is None:
            return
        computing.nest_ended = kind
        if computing.waits:
            self._end_nest(computing)

    def _end_nest(self, computing: Computing) -> None:
        """A task that nests is over: the nested one has its outcome, or it does not wait for that."""
        assert computing.nest is not None
        key, kind = (computing.task, computing.attempt), computing.nest_ended
        self.loop.after(0.0, computing.nest.leave)
        del self.computing[key]
        self._fill()
        took_s = computing.ran_s + self.loop.now - computing.since
        if kind == "done":
            self._report(we.Finished(*key, took_s, computing.work.result))
        else:
            self._report(we.Raised(*key, took_s, kind, m.Payload(b"Traceback ...")))

    def _nest_computed(self, computing: Computing) -> None:
        """A task that nests has computed what it computes besides."""
        computing.left_s = 0.0
        if computing.work.nest_kind[0] == "computes":
            computing.nest_ended = "done"
        if computing.nest_ended:
            self._end_nest(computing)

    def _lock(self, task: bytes) -> None:
        """Let a task keep the interpreter lock: the rest of the process is as good as frozen."""
        self.locked_by = task
        self.freeze()

    def _bite(self) -> None:
        """The watchdog ends the process."""
        if self.alive:
            self.host.crash()

    def _stall(self, computing: Computing, generation: int) -> None:
        """Keep the lock for a while; everything else that computes is as good as frozen meanwhile."""
        if generation == self._generation and self.alive:
            computing.stalls -= 1
            for_s = self.random.uniform(0.1, 0.9) * self.host.rules.lease_s
            self._lock(computing.task)
            self.loop.after(for_s, self._let_go, for_s)

    def _let_go(self, for_s: float) -> None:
        """Free the lock. That was no freeze: the processor was used."""
        if self.alive:
            self._processor_s += for_s
            for computing in list(self.computing.values()):
                computing.ran_s += for_s
            self._frozen_at = self.loop.now
            self.locked_by = None
            self.thaw()

    def tick(self) -> Tick:
        """Return the session's event of that name."""
        return Tick(self._processor_s)

    def _schedule(self, computing: Computing) -> None:
        """Schedule what comes next of an attempt that computes now."""
        computing.since = self.loop.now
        hangs = computing.work.behaviour == "hangs"
        if not computing.reported and (
            computing.left_s > ANNOUNCE_AFTER_S or hangs or computing.stalls or computing.nest
        ):
            self.loop.after(ANNOUNCE_AFTER_S, self._announce, computing, self._generation)
        if computing.stalls:
            self.loop.after(STALL_EVERY_S, self._stall, computing, self._generation)
        elif not hangs and not computing.waits:
            self.loop.after(computing.left_s, self._over, computing, self._generation)

    def _announce(self, computing: Computing, generation: int) -> None:
        if generation == self._generation and self.alive:
            computing.reported = True
            began_at = computing.started_at + (self.clock() - self.loop.now)
            self.feed(we.Began(computing.task, computing.attempt, began_at))

    def _over(self, computing: Computing, generation: int) -> None:
        if generation != self._generation or not self.alive:
            return
        work, took_s = computing.work, computing.ran_s + self.loop.now - computing.since
        if work.behaviour == "poison":
            self.host.crash()
            return
        if computing.nest is not None:
            self._nest_computed(computing)
            return
        del self.computing[computing.task, computing.attempt]
        self._fill()
        if work.behaviour == "raises":
            text = m.Payload(b"Traceback ...")
            why = "ValueError: as planned"
            self._report(we.Raised(computing.task, computing.attempt, took_s, why, text))
        else:
            self._report(we.Finished(computing.task, computing.attempt, took_s, work.result))

    def _report(self, report: we.Finished | we.Raised) -> None:
        """Leave a report for the I/O thread, and wake that up."""
        self._reports.append(report)
        if not self._looks_after_s:
            self._look()
        elif len(self._reports) == 1:
            self.loop.after(self._looks_after_s, self._look)

    def _look(self) -> None:
        if self.alive and not self.frozen:
            self.take_reports()
            self.end_turn()

    def take_reports(self) -> None:
        """Hand the session what has ended since the last look."""
        reports, self._reports = self._reports, []
        for report in reports:
            self.handle(report)

    # --- its end --------------------------------------------------------------------------------------------

    def _exit(self, action: we.Exit) -> None:
        self.end(lost=0)
        self.host.exited(action.code)

    def freeze(self) -> None:
        """Stop computing, too."""
        if self.alive and not self.frozen:
            self._frozen_at = self.loop.now
            self._generation += 1
            for computing in list(self.computing.values()):
                ran_s = self.loop.now - computing.since
                computing.ran_s += ran_s
                computing.left_s = max(0.0, computing.left_s - ran_s)
                if computing.nest is not None:
                    computing.nest.freeze()
        super().freeze()

    def thaw(self) -> None:
        """Compute on, unless a task keeps the lock."""
        if self.locked_by is not None:
            return
        was_frozen = self.frozen
        if was_frozen and self.alive:
            frozen_s = self.loop.now - self._frozen_at
            for computing in list(self.computing.values()):
                if frozen_s <= 2 * self.host.rules.heartbeat_s:
                    computing.ran_s += frozen_s  # too short for the session to notice: counts as computing
                self._schedule(computing)
                if computing.nest is not None:
                    computing.nest.thaw()
        super().thaw()
        if was_frozen:
            self._fill()

    def end(self, lost: int) -> None:
        """Die, or leave."""
        if self.alive:
            self._generation += 1
            for computing in list(self.computing.values()):
                if computing.nest is not None:
                    computing.nest.end(lost=0)
                computing.ran_s += 0.0 if self.frozen else self.loop.now - computing.since
                if computing.ran_s >= computing.lease_s * 0.999:
                    self.host.computed.overran[computing.task] += 1
        super().end(lost)
