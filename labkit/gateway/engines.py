"""The engines that compute on the gateway's own machine, beside the event loop and never on it.

A batch runs in a thread of its own; at most ``most`` batches at the same time, and one more is refused at
once: its caller learns that the machine is busy, instead of waiting for it.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, as_completed
from contextlib import contextmanager
from typing import Any, NamedTuple

from labkit.core.errors import N_, LabkitError
from labkit.executors import open_executor
from labkit.gateway.pictures import Picture
from labkit.gateway.problems import Problem
from labkit.imaging import image_files
from labkit.imaging.filters import Step
from labkit.jobs import process_encoded
from labkit.support.allocator import give_back
from labkit.support.i18n import translate_error

ENGINES = {"sequential": "sequential", "threading": "threads", "multiprocessing": "processes"}
"""The course's words, and what the lab calls the same engine."""
CLUSTER = "distributed"
PATIENCE_S = 120.0
"""How long a batch may take on this machine."""


class Outcome(NamedTuple):
    """What a batch gave: results in the order of its pictures (None: failed), the reasons, the seconds."""

    results: list[bytes | None]
    failed: list[dict[str, Any]]
    seconds: float

    def as_json(self, method: str, filters: Sequence[str]) -> dict[str, Any]:
        """Return the course's answer; times are seconds."""
        done = sum(result is not None for result in self.results)
        return {
            "method": method,
            "processed_count": done,
            "filters_used": list(filters),
            "total_time": round(self.seconds, 6),
            "avg_time_per_image": round(self.seconds / done, 6) if done else None,
            "failed": self.failed,
        }


class Slots:
    """So many batches at the same time; one more is refused with the time after which to ask again."""

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one slot in this block. Raises Problem if all are taken."""
        if not self._free.acquire(blocking=False):
            raise Problem(
                429,
                "engines-busy",
                N_("{n} batches are being computed on this machine, which is the most at the same time"),
                next_step=N_("send it again in some seconds, or send it to the cluster: distributed"),
                headers={"Retry-After": "2"},
                n=self._most,
            )
        try:
            yield
        finally:
            self._free.release()
            give_back()  # otherwise this process keeps up to 25 MiB that it no longer needs


def run(executor: Executor, pictures: Sequence[Picture], steps: Sequence[Step]) -> Outcome:
    """Return what an engine makes of the pictures. A picture that fails does not stop the others.

    Raises Problem if the batch is not done within ``PATIENCE_S``.
    """
    began = time.monotonic()
    futures = {executor.submit(process_encoded, picture.data, steps): n for n, picture in enumerate(pictures)}
    results: list[bytes | None] = [None] * len(pictures)
    failed = []
    try:
        for future in as_completed(futures, timeout=PATIENCE_S):
            number = futures[future]
            try:
                results[number] = future.result()
            except (LabkitError, CancelledError, OSError, RuntimeError, MemoryError) as error:
                failed.append(failure(pictures[number].name, number, error))
    except TimeoutError as error:
        for future in futures:
            future.cancel()
        raise Problem(
            504,
            "batch-too-slow",
            N_("the batch was not done after {seconds:.0f} s"),
            next_step=N_("send fewer pictures, or send them to the cluster: distributed"),
            seconds=PATIENCE_S,
        ) from error
    return Outcome(results, sorted(failed, key=lambda row: row["index"]), time.monotonic() - began)


def failure(name: str, number: int, error: BaseException) -> dict[str, Any]:
    """Return the row of a picture that failed: its place in the batch, its name, the reason."""
    return {"index": number, "image": name, "error": translate_error(error)}


def local(method: str, pictures: Sequence[Picture], steps: Sequence[Step]) -> Outcome:
    """Return a batch's outcome on one of ``ENGINES``; the engine's own start counts."""
    began = time.monotonic()
    with open_executor(ENGINES[method]) as executor:
        outcome = run(executor, pictures, steps)
    return outcome._replace(seconds=time.monotonic() - began)


class _Engine(NamedTuple):
    method: str
    executor: Executor


def compare(
    pictures: Sequence[Picture],
    steps: Sequence[Step],
    rounds: int,
    cluster: Callable[[], Executor] | None,
) -> dict[str, Any]:
    """Return the engines' times for the same batch, side by side, and whether their pixels are equal.

    The engines take turns, ``rounds`` times, after one picture each to warm up: what else this machine does
    meets all of them. ``cluster`` opens the cluster's engine; None leaves it out.
    """
    engines: list[_Engine] = []
    times: dict[str, list[float]] = {}
    digests: dict[str, str] = {}
    failed: dict[str, list[dict[str, Any]]] = {}
    try:
        for method in ENGINES:
            engines.append(_Engine(method, open_executor(ENGINES[method])))
        if cluster is not None:
            engines.append(_Engine(CLUSTER, cluster()))
        for engine in engines:
            run(engine.executor, pictures[:1], steps)
        for _round in range(rounds):
            for method, executor in engines:
                outcome = run(executor, pictures, steps)
                times.setdefault(method, []).append(outcome.seconds)
                digests[method] = _digest(outcome.results)
                failed[method] = outcome.failed
    finally:
        for engine in engines:
            engine.executor.shutdown()
    reference = statistics.median(times["sequential"])
    return {
        "images": len(pictures),
        "rounds": rounds,
        "filters_used": [name for name, _params in steps],
        "pixels_equal": len(set(digests.values())) == 1,
        "engines": [
            {
                "method": method,
                "total_time": round(statistics.median(seconds), 6),
                "fastest": round(min(seconds), 6),
                "slowest": round(max(seconds), 6),
                "avg_time_per_image": round(statistics.median(seconds) / len(pictures), 6),
                "times_sequential": round(reference / statistics.median(seconds), 3),
                "failed": failed[method],
            }
            for method, seconds in times.items()
        ],
    }


def _digest(results: Sequence[bytes | None]) -> str:
    """Return a digest of the pixels of all results. Files are decoded: another zlib packs the same pixels."""
    digest = hashlib.sha256()
    for result in results:
        if result is None:
            digest.update(b"failed")
        else:
            pixels = image_files.decode(result)
            digest.update(f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes())
    return digest.hexdigest()
