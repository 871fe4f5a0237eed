"""A worker's place in a simulated cluster: its name, its link, and the processes that live there in turn.

Its supervisor starts a new process when one crashed by itself or left because a task hung, as
``docker compose`` would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from labkit.core.peers import worker_events as we
from labkit.core.peers import worker_session as ws
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.protocol import exit_codes
from labkit.core.protocol.rules import Rules
from labkit.simulation.clients import ClientProcess
from labkit.simulation.connection import Link
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network
from labkit.simulation.work import Work
from labkit.simulation.worker_process import Computed, WorkerProcess


class WorkerSlot:
    """See the module's head."""

    def __init__(
        self,
        name: str,
        loop: Loop,
        network: Network,
        random: Random,
        rules: Rules,
        capabilities: frozenset[str],
        compute_slots: int,
        works: Mapping[bytes, Work],
        computed: Computed,
        make_session: Callable[..., ws.WorkerSession],
        open_nest: Callable[[Work, Callable[[str], None]], ClientProcess],
        quiet_process: Callable[[Rules], QuietProcess],
    ) -> None:
        self.name = name
        self.rules = rules
        self.capabilities = capabilities
        self.compute_slots = compute_slots  # how many tasks its process computes at once
        self.works = works
        self.computed = computed
        self.make_session = make_session
        self.open_nest = open_nest
        self.quiet_process = quiet_process
        self.slowness = self.usual_slowness = 1.0
        self.link = Link(random.uniform(0.0001, 0.002))
        self.process: WorkerProcess | None = None
        self.wanted = False
        self.persistent = False  # start it again however it ended
        self.dismissed = False  # an autoscaler has no use for it: nothing else starts it
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
            self.process.feed(we.StopAsked())

    def kill(self) -> None:
        """Kill the process (kill -9), and do not start it again."""
        self.wanted = False
        if self.up is not None:
            self.computed.killed.append((self._loop.now, self.up))
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
