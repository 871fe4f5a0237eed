"""Photos through sharpen and edges, arrays both ways: what distribution is worth for real work.

Each engine runs the same `labkit.jobs.process_image` on the same arrays, and the pixels are compared. Each
engine, the loop included, computes with one OpenCV thread per worker: a second thread would only take the
core of another worker.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.figures import TIMES, BenchFailed, Figure, Section, Target, rates, ratios
from benchmarks.setup import (
    LABKIT,
    POOL,
    VERSUS_POOL,
    Setup,
    alternate,
    cluster_pool,
    one_thread_each,
    process_pool,
    timed,
)
from labkit.batch import process_batch
from labkit.core.errors import N_
from labkit.imaging import photos
from labkit.support.i18n import _

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

TITLE = N_("photos through sharpen and edges, arrays both ways")
FILTERS = ("sharpen", "edges")
PARAMETERS = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}
LOOP = "sequential"
IMAGES_PER_S = N_("images/s")

SIZES = {
    # name: (width, height), photos in a batch per worker, in a quick run, target
    "512": ((512, 512), 24, 8, Target(1.2)),
    "4K": ((3840, 2160), 4, 2, Target(1.3)),
}


def resized_photos(width: int, height: int, count: int) -> list[np.ndarray]:
    """Return ``count`` arrays ``(height, width, 3)`` uint8 BGR: the bundled colour photos, cut and scaled."""
    import cv2
    import numpy as np

    originals = [array for array in (photo.array() for photo in photos.load()) if array.ndim == 3]
    scaled = []
    for array in itertools.islice(originals, count):
        rows, columns = array.shape[:2]
        keep_rows, keep_columns = min(rows, columns * height // width), min(columns, rows * width // height)
        top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
        cut = array[top : top + keep_rows, left : left + keep_columns, :3]
        scaled.append(np.ascontiguousarray(cv2.resize(cut, (width, height))))
    return list(itertools.islice(itertools.cycle(scaled), count))


def require_equal(engine: str, results: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Raise BenchFailed unless an engine's pictures are the sequential loop's, pixel by pixel."""
    import numpy as np

    same = len(results) == len(expected) and all(map(np.array_equal, results, expected))
    if not same:
        raise BenchFailed(
            N_("{engine} gave other pixels than the sequential loop; its speed means nothing"), engine=engine
        )


def measure(setup: Setup) -> Section:
    """Return images a second at both sizes, of labkit, of the process pool and of the sequential loop."""
    import cv2

    from labkit.executors import open_executor

    one_thread_each()
    cv2.setNumThreads(1)  # this process may have loaded it before
    figures: list[Figure] = []
    facts: dict[str, int] = {}
    with ExitStack() as stack:
        engines: dict[str, Executor] = {
            LOOP: stack.enter_context(open_executor("sequential")),
            POOL: stack.enter_context(process_pool(setup.workers)),
            LABKIT: stack.enter_context(cluster_pool(setup.workers)),
        }
        for name, ((width, height), full, quick, target) in SIZES.items():
            count = facts[f"photos_{name}"] = setup.size(full, quick) * setup.workers
            pictures = resized_photos(width, height, count)
            figures += _one_size(name, engines, pictures, target, setup.rounds)
    notes = [
        _("{small} photos of 512 x 512 and {large} of 3840 x 2160 a batch (scikit-image's, scaled)").format(
            small=facts["photos_512"], large=facts["photos_4K"]
        ),
        _("{workers} workers on each side, one OpenCV thread in each, one in the loop").format(
            workers=setup.workers
        ),
    ]
    return Section(figures, notes, facts)


def _one_size(
    size: str, engines: dict[str, Executor], pictures: list[np.ndarray], target: Target, rounds: int
) -> list[Figure]:
    expected = process_batch(engines[LOOP], pictures, FILTERS, PARAMETERS)
    for name, engine in engines.items():  # this is also the warm-up: every worker loads OpenCV
        require_equal(name, process_batch(engine, pictures, FILTERS, PARAMETERS), expected)
    del expected
    batches = (partial(process_batch, each, pictures, FILTERS, PARAMETERS) for each in engines.values())
    taken = alternate(rounds, *(partial(timed, batch) for batch in batches), warm=True)
    loop, pool, ours = (rates(len(pictures), seconds) for seconds in taken)
    return [
        Figure(f"{size}.sequential", f"{size}: {LOOP}", loop, IMAGES_PER_S),
        Figure(f"{size}.pool", f"{size}: {POOL}", pool, IMAGES_PER_S),
        Figure(f"{size}.labkit", f"{size}: {LABKIT}", ours, IMAGES_PER_S),
        Figure(f"{size}.ratio", f"{size}: {VERSUS_POOL}", ratios(ours, pool), TIMES, target),
        Figure(f"{size}.sequential_ratio", f"{size}: {LABKIT} / {LOOP}", ratios(ours, loop), TIMES),
    ]
