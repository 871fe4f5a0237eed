"""{title}"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.core.broker.policies import TaskView, WorkerView


def choose(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    # SOLUTION
    return min(workers, key=lambda worker: (worker.in_flight / worker.slots, -worker.completed))
    # STUB
    # return workers[task.id[0] % len(workers)]
    # END
