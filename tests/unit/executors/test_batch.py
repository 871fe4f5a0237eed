"""The main job: the same pixels in the same order on every engine of the standard library."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np
import pytest

from labkit.batch import process_batch, process_encoded_batch
from labkit.core.errors import FilterError, ImageError
from labkit.imaging import image_files
from labkit.imaging.photos import bundled

FILTERS = ["sharpen", "edges"]
PARAMS = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}


class OneAfterTheOther(Executor):
    """The smallest executor there is."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed on through the future
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [photo.array() for photo in bundled() if photo.name in ("chelsea", "coffee", "camera", "coins")]


def pixels(batch: list[np.ndarray]) -> list[tuple[tuple[int, ...], bytes]]:
    return [(image.shape, image.tobytes()) for image in batch]


def test_every_engine_gives_the_same_pixels_in_the_same_order(
    processes: Executor, photographs: list[np.ndarray]
) -> None:
    expected = process_batch(OneAfterTheOther(), photographs, FILTERS, PARAMS)
    assert [image.shape for image in expected] == [image.shape for image in photographs]
    with ThreadPoolExecutor(3) as threads:
        assert pixels(process_batch(threads, photographs, FILTERS, PARAMS)) == pixels(expected)
    assert pixels(process_batch(processes, photographs, FILTERS, PARAMS, chunksize=3)) == pixels(expected)


def test_encoded_files_give_the_same_pixels_as_arrays(processes: Executor) -> None:
    photos = [photo for photo in bundled() if photo.name in ("chelsea", "camera")]
    expected = process_batch(OneAfterTheOther(), [photo.array() for photo in photos], FILTERS, PARAMS)
    files = process_encoded_batch(processes, [photo.bytes() for photo in photos], FILTERS, PARAMS)
    assert pixels([image_files.decode(file) for file in files]) == pixels(expected)


def test_encoded_results_come_in_the_format_asked_for() -> None:
    file = image_files.encode(np.zeros((8, 8), np.uint8))
    (result,) = process_encoded_batch(OneAfterTheOther(), [file], ["blur"], format="jpeg", quality=60)
    assert result.startswith(b"\xff\xd8\xff")


def test_wrong_filters_are_refused_before_anything_is_sent() -> None:
    class Unused(Executor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            raise AssertionError("something was sent")

    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(FilterError, match="'sharpn' is unknown"):
        process_batch(Unused(), [image], ["sharpn"])
    with pytest.raises(FilterError, match=r"sharpen\.intensity = 300"):
        process_encoded_batch(Unused(), [b""], ["sharpen"], {"sharpen": {"intensity": 300}})


def test_an_image_that_fails_raises_its_error(processes: Executor) -> None:
    with pytest.raises(ImageError, match="is not a PNG or JPEG picture"):
        process_encoded_batch(
            processes, [image_files.encode(np.zeros((8, 8), np.uint8)), b"no picture"], ["blur"]
        )


def test_an_empty_batch_is_an_empty_list(processes: Executor) -> None:
    assert process_batch(processes, [], ["blur"]) == []


def test_a_batch_that_takes_too_long_raises_a_timeout() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(release.wait)
        try:
            with pytest.raises((TimeoutError, FutureTimeout)):
                process_batch(threads, [np.zeros((8, 8), np.uint8)], ["blur"], timeout=0.01)
        finally:
            release.set()
