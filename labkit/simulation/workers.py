"""Simulated workers: the real WorkerSession, and computing that only takes time.

A *post* is a place with a name (worker-2) in which one process after another lives; whoever supervises the
cluster starts a new one when a process crashed by itself or left because a task hung, as ``docker compose``
would.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from labkit.core.peers import worker_session as ws
from labkit.core.peers.session import Arrived, Connect, Send, Tick
from labkit.core.protocol import exit_codes
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.ground_truth import Truth
from labkit.simulation.loop import Loop
from labkit.simulation.network import Link, Network
from labkit.simulation.process import Process
from labkit.simulation.work import Work

WATCHDOG_SLACK = 1.5
"""A process whose interpreter lock is held ends after one lease, or this many times that."""
STALL_EVERY_S = 0.05
"""What is left to the others between two times at which a task keeps the lock."""
ANNOUNCE_AFTER_S = 0.001
"""An attempt that has run for this long is reported as begun, as the real shell does."""


class Computing:
    """An attempt in one of a worker's slots."""

    __slots__ = (
        "attempt", "lease_s", "left_s", "ran_s", "reported", "since", "stalls", "started_at", "task", "work",
    )  # fmt: skip

    def __init__(self, task: m.Task, work: Work, duration_s: float, now: float) -> None:
        self.task = task.task
        self.attempt = task.attempt
        self.lease_s = task.lease_s
        self.work = work
        self.left_s = duration_s
        self.ran_s = 0.0
        self.stalls = 0  # how often it will still keep the interpreter lock for a while
        self.started_at = now
        self.since = now
        self.reported = False


class WorkerProcess(Process):
    """One process of a worker."""

    arrived = Arrived
    may_send = m.FROM_WORKER
    reports = frozenset({ws.Finished, ws.Raised})

    def __init__(self, post: Post, loop: Loop, network: Network, random: Random) -> None:
        super().__init__(post.name, loop, network, random, post.link)
        self.post = post
        self.session: ws.WorkerSession = post.make_session(
            post.name, post.capabilities, post.slots, random.randrange(2, 99999), post.rules,
            lambda: random.randbytes(8),
        )  # fmt: skip
        self.waiting: deque[m.Task] = deque()
        self.computing: dict[tuple[bytes, int], Computing] = {}
        self._begun: set[bytes] = set()
        self.locked_by: bytes | None = None  # the task that has the interpreter lock, and keeps it
        self._processor_s = 0.0  # used while the lock was kept; what else it uses is of no interest
        self._frozen_at = 0.0
        self._generation = 0  # raised by a freeze: what was scheduled before it does not count
        self.performers = {
            Send: self.send, Connect: self.connect, ws.Run: self._run, ws.Withdraw: self._withdraw,
            ws.Exit: self._exit,
        }  # fmt: skip

    def start(self) -> None:
        """Begin to live, with a look at the clocks, as the real shell does."""
        super().start()
        self.feed(self.tick())

    def send(self, action: Any) -> None:
        """Send a message; an announced start is evidence if this process dies."""
        if type(action.message) is m.Started:
            self._begin(action.message.task)
        super().send(action)

    def _begin(self, task: bytes) -> None:
        if task not in self._begun:
            self._begun.add(task)
            self.post.truth.begun.setdefault(task, []).append(self)

    # --- computing ------------------------------------------------------------------------------------------

    def _run(self, action: ws.Run) -> None:
        task, attempt = key = action.task.task, action.task.attempt
        if key in self.computing or any((other.task, other.attempt) == key for other in self.waiting):
            self.post.truth.blame(
                "held", f"{self.name} got attempt {attempt} of {task.hex()} while it had it"
            )
        self.waiting.append(action.task)
        self.loop.after(0.00002, self._fill)  # the threads wake up a moment later

    def _withdraw(self, action: ws.Withdraw) -> None:
        for task in self.waiting:
            if (task.task, task.attempt) == (action.task, action.attempt):
                self.waiting.remove(task)
                self.feed(ws.Withdrawn(action.task, action.attempt))
                return

    def _fill(self) -> None:
        while self.alive and not self.frozen and self.waiting and len(self.computing) < self.post.slots:
            task = self.waiting.popleft()
            work = self.post.works[task.task]
            computing = Computing(task, work, work.compute_s * self.post.slowness, self.loop.now)
            self.computing[task.task, task.attempt] = computing
            self._begin(task.task)
            if work.nature == "locks":
                self._lock(task.task)
                self.loop.after(task.lease_s * self.random.uniform(1.0, WATCHDOG_SLACK), self._bite)
            elif work.nature == "stalls":
                computing.stalls = self.random.choice((2, 3))
                self._stall(computing, self._generation)
            else:
                self._schedule(computing)

    def _lock(self, task: bytes) -> None:
        """Be as good as frozen."""
        self.locked_by = task
        self.freeze()

    def _bite(self) -> None:
        """The watchdog ends the process."""
        if self.alive:
            self.post.crash()

    def _stall(self, computing: Computing, generation: int) -> None:
        """Keep the lock for a while; whatever else computes is as good as frozen meanwhile."""
        if generation == self._generation and self.alive:
            computing.stalls -= 1
            for_s = self.random.uniform(0.1, 0.9) * self.post.rules.lease_s
            self._lock(computing.task)
            self.loop.after(for_s, self._let_go, for_s)

    def _let_go(self, for_s: float) -> None:
        """The lock is free again. That was no freeze: the processor was used."""
        if self.alive:
            self._processor_s += for_s
            for computing in self.computing.values():
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
        if not computing.reported and (
            computing.left_s > ANNOUNCE_AFTER_S or computing.work.nature == "hangs" or computing.stalls
        ):
            self.loop.after(ANNOUNCE_AFTER_S, self._announce, computing, self._generation)
        if computing.stalls:
            self.loop.after(STALL_EVERY_S, self._stall, computing, self._generation)
        elif computing.work.nature != "hangs":
            self.loop.after(computing.left_s, self._over, computing, self._generation)

    def _announce(self, computing: Computing, generation: int) -> None:
        if generation == self._generation and self.alive:
            computing.reported = True
            began_at = computing.started_at + (self.clock() - self.loop.now)
            self.feed(ws.Began(computing.task, computing.attempt, began_at))

    def _over(self, computing: Computing, generation: int) -> None:
        if generation != self._generation or not self.alive:
            return
        work, took_s = computing.work, computing.ran_s + self.loop.now - computing.since
        if work.nature == "poison":
            self.post.crash()
            return
        del self.computing[computing.task, computing.attempt]
        self._fill()
        if work.nature == "raises":
            text = m.Payload(b"Traceback ...")
            self.feed(ws.Raised(computing.task, computing.attempt, took_s, "ValueError: as planned", text))
        else:
            self.feed(ws.Finished(computing.task, computing.attempt, took_s, work.result))

    # --- its end --------------------------------------------------------------------------------------------

    def _exit(self, action: ws.Exit) -> None:
        self.end(lost=0)
        self.post.exited(action.code)

    def freeze(self) -> None:
        """Stop computing, too."""
        if self.alive and not self.frozen:
            self._frozen_at = self.loop.now
            self._generation += 1
            for computing in self.computing.values():
                ran_s = self.loop.now - computing.since
                computing.ran_s += ran_s
                computing.left_s = max(0.0, computing.left_s - ran_s)
        super().freeze()

    def thaw(self) -> None:
        """Compute on, unless a task keeps the lock."""
        if self.locked_by is not None:
            return
        was_frozen = self.frozen
        if was_frozen and self.alive:
            frozen_s = self.loop.now - self._frozen_at
            for computing in self.computing.values():
                if frozen_s <= 2 * self.post.rules.heartbeat_s:
                    computing.ran_s += frozen_s  # too short for anybody to notice: it counts as computing
                self._schedule(computing)
        super().thaw()
        if was_frozen:
            self._fill()

    def end(self, lost: int) -> None:
        """Die, or leave."""
        if self.alive:
            self._generation += 1
            for computing in self.computing.values():
                computing.ran_s += 0.0 if self.frozen else self.loop.now - computing.since
                if computing.ran_s >= computing.lease_s * 0.999:
                    self.post.truth.overrun[computing.task] += 1
        super().end(lost)


class Post:
    """A worker's name, and the processes that bear it one after another."""

    def __init__(
        self,
        name: str,
        loop: Loop,
        network: Network,
        random: Random,
        rules: Rules,
        capabilities: frozenset[str],
        slots: int,
        works: Mapping[bytes, Work],
        truth: Truth,
        make_session: Callable[..., ws.WorkerSession],
    ) -> None:
        self.name = name
        self.rules = rules
        self.capabilities = capabilities
        self.slots = slots
        self.works = works
        self.truth = truth
        self.make_session = make_session
        self.slowness = 1.0
        self.link = Link(random.uniform(0.0001, 0.002))
        self.process: WorkerProcess | None = None
        self.wanted = False
        self.persistent = False  # start it again however it ended
        self.dismissed = False  # an autoscaler has no use for it: nobody else starts it
        self.exits: Counter[int] = Counter()
        self._loop = loop
        self._network = network
        self._random = random

    @property
    def up(self) -> WorkerProcess | None:
        """The process that lives here now, frozen or not."""
        return self.process if self.process is not None and self.process.alive else None

    def start(self) -> None:
        """Start a process unless there is one."""
        self.wanted = True
        if self.up is None:
            self.process = WorkerProcess(self, self._loop, self._network, self._random)
            self.process.start()

    def stop(self) -> None:
        """Ask the process to drain and leave (SIGTERM)."""
        self.wanted = False
        if self.process is not None:
            self.process.feed(ws.StopAsked())

    def kill(self) -> None:
        """kill -9, by somebody who does not want it started again."""
        self.wanted = False
        self._die()

    def crash(self) -> None:
        """The process dies of what it computes."""
        self._die()
        self._restart()

    def _die(self) -> None:
        if self.process is not None:
            self.process.end(lost=self._random.choice((0, 0, 1, 2, 5)))

    def exited(self, code: int) -> None:
        """The process left by itself."""
        self.exits[code] += 1
        if code == exit_codes.HUNG or self.persistent:
            self._restart()

    def _restart(self) -> None:
        self._loop.after(self._random.uniform(0.1, 0.8), self._start_if_wanted)

    def _start_if_wanted(self) -> None:
        if self.wanted:
            self.start()
