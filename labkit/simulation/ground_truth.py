"""What really happened in a simulated run, which no part of the cluster can know.

The online checker compares what the broker reports with this: which process died while it computed what,
which run outlasted its lease, which worker was well all the time.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.core.peers.session import Phase
from labkit.core.protocol.rules import Rules
from labkit.simulation.clients import ClientProcess
from labkit.simulation.loop import Loop
from labkit.simulation.worker_process import Computed, WorkerProcess
from labkit.simulation.worker_slot import WorkerSlot


def _is_full_of_waits(process: WorkerProcess, slots: int, careful: bool) -> bool:
    waits = [computing.waits for computing in process.computing.values()]
    alone = careful or any(task.careful for task in process.session.held.values())
    return any(waits) if alone else len(waits) >= slots and all(waits)


class GroundTruth:
    """Read from the processes themselves. ``slots`` and ``clients`` are all that exist, present and gone."""

    def __init__(self, loop: Loop, rules: Rules, computed: Computed) -> None:
        self.slots: list[WorkerSlot] = []
        self.clients: list[ClientProcess] = []
        self.is_disturbed = False  # by any fault
        self._loop = loop
        self._rules = rules
        self._computed = computed

    # --- clients --------------------------------------------------------------------------------------------

    def may_cancel(self, name: str) -> bool:
        """Return whether the broker may take a client for gone: it left, or was silent for long enough."""
        client = next(client for client in self.clients if client.name == name)
        if client.session.phase is Phase.OVER:
            return True
        heard = [c.last_message for c in client.link.connections if c.broker_open]
        silent_s = self._loop.now - max(heard, default=-self._rules.client_gone_s)
        return silent_s >= self._rules.client_gone_s - 1e-6

    # --- workers --------------------------------------------------------------------------------------------

    def is_well(self, name: str, epoch: str) -> bool:
        """Return whether the worker of this epoch and its link have been well for longer than ``dead_s``."""
        for slot in self.slots:
            process = slot.up
            if process is None or slot.name != name or process.session.epoch.hex() != epoch:
                continue
            socket = process.socket
            talks = socket is not None and socket.connection is not None and not socket.is_half_open
            since = max(process.since, slot.link.mended_at)
            long_enough = self._loop.now - since > self._rules.dead_s + 1.0
            return talks and long_enough and not process.frozen and not slot.link.cut
        return False

    def instance_of(self, name: str, epoch: str) -> bytes | None:
        """Return which living process is the worker of this epoch; None if it has another epoch by now."""
        for slot in self.slots:
            if slot.up is not None and slot.name == name and slot.up.session.epoch.hex() == epoch:
                return slot.up.session.instance
        return None

    # --- runs of a task -------------------------------------------------------------------------------------

    def begun(self, task: bytes) -> int:
        """Return in how many processes a task has begun."""
        return len(self._computed.begun.get(task, ()))

    def evidence(self, task: bytes, present: set[bytes]) -> int:
        """Return in how many processes a task had begun that are dead, or look dead now.

        ``present`` are the processes (instances) that the broker counts among its workers.
        """
        begun = self._computed.begun.get(task, ())
        return sum(not process.alive or process.instance not in present for process in begun)

    def killed_without(self, task: bytes, since: float) -> int:
        """Return how many workers have been killed since then that evidently died without this task.

        It had not begun there, and all that the worker held has its result since. A worker that died with
        other tasks, which are open or cancelled, might have died of them.
        """
        begun = self._computed.begun.get(task, ())
        done = {
            ended
            for client in self.clients
            for ended, outcome in client.outcomes.items()
            if outcome.kind == "done"
        }
        return sum(
            at >= since
            and process not in begun
            and process.session.broker_epoch != b""  # the broker knew it
            and all(held in done for held, _attempt in process.session.tables().held)
            for at, process in self._computed.killed
        )

    def is_deadlock(self, needs: frozenset[str], careful: bool, present: set[bytes]) -> bool:
        """Return whether tasks that wait for nested tasks occupy all slots of all workers that can do this.

        A careful task runs alone, so one that waits is enough. ``present`` are the processes that the broker
        counts among its workers.
        """
        able = [
            slot
            for slot in self.slots
            if slot.up is not None and slot.up.instance in present and needs <= (slot.capabilities or needs)
        ]
        return bool(able) and all(
            slot.up is not None and _is_full_of_waits(slot.up, slot.compute_slots, careful) for slot in able
        )

    def overruns(self, task: bytes) -> int:
        """Return how many runs of a task have outlasted its lease, the present ones included."""
        now = self._loop.now
        present = sum(
            computing.task == task and computing.ran_s + now - computing.since >= computing.lease_s * 0.999
            for slot in self.slots
            if slot.up is not None and not slot.up.frozen
            for computing in slot.up.computing.values()
        )
        return self._computed.overran[task] + present

    def keeps_lock(self, task: bytes, name: str, epoch: str) -> bool:
        """Return whether the worker of this epoch lives, and this task keeps its interpreter lock."""
        return any(
            slot.name == name
            and slot.up is not None
            and slot.up.locked_by == task
            and slot.up.session.epoch.hex() == epoch
            for slot in self.slots
        )

    def computing(self, task: bytes, sent: Mapping[int, tuple[str, float]], awake_since: float) -> list[str]:
        """Return the workers that compute one of these attempts, undisturbed since it was sent to them.

        ``sent`` maps an attempt to its worker and the instant of its dispatch; the broker has been well since
        ``awake_since``. A worker that was frozen or cut off meanwhile does not count.
        """
        found = []
        for slot in self.slots:
            for computing in slot.up.computing.values() if slot.up is not None else ():
                process, link = slot.up, slot.link
                assert process is not None and process.socket is not None
                well_since = max(process.struck_at, link.mended_at, awake_since)
                name, sent_at = sent.get(computing.attempt, ("", 0.0))
                cut_off = link.cut or process.socket.is_half_open or well_since >= sent_at
                if computing.task == task and name == slot.name and not cut_off:
                    found.append(slot.name)
        return found
