"""What really happened in a simulated run, which nobody in the cluster can know.

The witness compares what the broker says with this: who died computing what, who overran a lease, who was
well all the time. ``posts`` and ``clients`` are everybody there is, present and gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from labkit.core.peers.session import Phase
from labkit.core.protocol.rules import Rules
from labkit.simulation.loop import Loop

if TYPE_CHECKING:
    from labkit.simulation.clients import ClientProcess
    from labkit.simulation.workers import Post, WorkerProcess


class Truth:
    """See the module's head."""

    def __init__(self, loop: Loop, rules: Rules) -> None:
        self.posts: list[Post] = []
        self.clients: list[ClientProcess] = []
        self.begun: dict[bytes, list[WorkerProcess]] = {}  # task -> where it began, or was announced
        self.overrun: Counter[bytes] = Counter()  # task -> ended runs that had gone past the lease
        self.blame: Callable[[str, str], NoReturn]  # (invariant, why): report a violation
        self._loop = loop
        self._rules = rules

    def may_cancel(self, name: str) -> bool:
        """Return whether a client may be taken for gone: it left, or was silent for long enough."""
        client = next(client for client in self.clients if client.name == name)
        if client.session.phase is Phase.OVER:
            return True
        heard = [c.last_word for c in client.link.connections if c.broker_open]
        silent_s = self._loop.now - max(heard, default=-self._rules.client_gone_s)
        return silent_s >= self._rules.client_gone_s - 1e-6

    def is_well(self, name: str, epoch: str) -> bool:
        """Return whether the worker of this epoch and its link have been well for longer than ``dead_s``."""
        for post in self.posts:
            process = post.up
            if process is None or post.name != name or process.session.epoch.hex() != epoch:
                continue
            socket = process.socket
            talks = socket is not None and socket.connection is not None and not socket.fooled
            since = max(process.since, post.link.mended_at)
            long_enough = self._loop.now - since > self._rules.dead_s + 1.0
            return talks and long_enough and not process.frozen and not post.link.cut
        return False

    def instance_of(self, name: str, epoch: str) -> bytes | None:
        """Return which living process is the worker of this epoch; None if it has another one by now."""
        for post in self.posts:
            if post.up is not None and post.name == name and post.up.session.epoch.hex() == epoch:
                return post.up.session.instance
        return None

    def overruns(self, task: bytes) -> int:
        """Return how many runs of a task have gone past its lease, the present ones included."""
        now = self._loop.now
        present = sum(
            computing.task == task and computing.ran_s + now - computing.since >= computing.lease_s * 0.999
            for post in self.posts
            if post.up is not None and not post.up.frozen
            for computing in post.up.computing.values()
        )
        return self.overrun[task] + present

    def keeps_lock(self, task: bytes, name: str, epoch: str) -> bool:
        """Return whether the worker of this epoch lives, and this task keeps its interpreter lock."""
        return any(
            post.name == name
            and post.up is not None
            and post.up.locked_by == task
            and post.up.session.epoch.hex() == epoch
            for post in self.posts
        )

    def computing(self, task: bytes, sent: Mapping[int, tuple[str, float]], awake_since: float) -> list[str]:
        """Return who computes one of these attempts, and was neither struck nor cut off since it was sent.

        ``sent`` says who got which attempt, and when; the broker has been well since ``awake_since``.
        """
        found = []
        for post in self.posts:
            for computing in post.up.computing.values() if post.up is not None else ():
                process, link = post.up, post.link
                assert process is not None and process.socket is not None
                well_since = max(process.struck_at, link.mended_at, awake_since)
                name, sent_at = sent.get(computing.attempt, ("", 0.0))
                cut_off = link.cut or process.socket.fooled or well_since >= sent_at
                if computing.task == task and name == post.name and not cut_off:
                    found.append(post.name)
        return found

    def evidence(self, task: bytes, present: set[bytes]) -> int:
        """Return in how many processes a task had begun that are dead, or look like it now.

        ``present`` are the processes (instances) that the broker counts among its workers.
        """
        begun = self.begun.get(task, ())
        return sum(not process.alive or process.session.instance not in present for process in begun)
