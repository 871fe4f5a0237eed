"""{title}"""

from __future__ import annotations

import numpy as np

from labkit.executors import ClusterExecutor
from labkit.imaging.filters import Step
from labkit.jobs import process_image


def first_task(executor: ClusterExecutor, image: np.ndarray, steps: list[Step]) -> tuple[str, np.ndarray]:
    # SOLUTION
    future = executor.submit(process_image, image, steps)
    return future.task_id, future.result()
    # STUB
    # return "", process_image(image, steps)
    # END
