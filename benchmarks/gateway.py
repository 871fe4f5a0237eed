"""The HTTP side: what it costs beside a bare route, a client's call, and a batch of the same pictures.

The gateway runs in a process of its own, as ``python -m labkit api`` does. The calls come from here, over
kept connections (``benchmarks.http_calls``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import http_calls
from benchmarks.figures import TIMES, BenchFailed, Figure, Section, Target, rates, ratios
from benchmarks.memory import KIND, memory_of
from benchmarks.pictures import FILTERS, IMAGES_PER_S, PARAMETERS, resized_photos
from benchmarks.round_trip import milliseconds
from benchmarks.served import BARE, Served, served
from benchmarks.setup import LABKIT, Setup, alternate, executor_on, timed, wake_all
from labkit.batch import process_batch, process_encoded_batch
from labkit.core.errors import N_
from labkit.jobs import process_encoded
from labkit.support.i18n import _
from labkit.support.percentiles import percentile

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from labkit.client.client import Client
    from labkit.cluster import Cluster

TITLE = N_("the HTTP side, in a process of its own")
BATCH_TARGET = Target(0.85)
MEMORY_TARGET = Target(90.0, at_most=True)
STATUS = "/api/workers/status/"
BARE_ROUTE = N_("bare FastAPI route")
REQUESTS_PER_S = N_("requests/s")
CONNECTIONS = 8
REQUESTS, QUICK_REQUESTS = 1500, 200
CALLS, QUICK_CALLS = 60, 10
BATCH, QUICK_BATCH = 60, 12
SIDE = 512


def measure(setup: Setup) -> Section:
    """Return the figures of status, of one picture, of a batch, and the gateway's memory."""
    from labkit.cluster import open_cluster

    with ExitStack() as stack:
        cluster = stack.enter_context(open_cluster(setup.workers))
        executor = stack.enter_context(executor_on(cluster))
        wake_all(executor, setup.workers)
        gateway = stack.enter_context(served(cluster))
        idle = memory_of(gateway.pid)
        figures = [
            *_status(gateway, setup),
            *_one_picture(gateway, cluster, setup),
            *_batch(gateway, executor, setup),
        ]
        used = memory_of(gateway.pid)
    target = MEMORY_TARGET if KIND == "PSS" else None
    figures += [
        Figure("memory", _("memory, idle"), [idle], "MiB", target),
        Figure("memory.used", _("memory, after all of this"), [used], "MiB", target),
    ]
    notes = [
        _("{requests} requests a round over {connections} connections; p50 over one").format(
            requests=setup.size(REQUESTS, QUICK_REQUESTS), connections=CONNECTIONS
        ),
        _("one picture: a JPEG of {side} x {side} through sharpen, JPEG back").format(side=SIDE),
        _(
            "batch: {count} photos through sharpen and edges, from files to PNG; over HTTP until all are done"
        ).format(count=setup.size(BATCH, QUICK_BATCH)),
    ]
    return Section(figures, notes, {"kind": KIND, "batch": setup.size(BATCH, QUICK_BATCH)})


def _status(gateway: Served, setup: Setup) -> list[Figure]:
    count = setup.size(REQUESTS, QUICK_REQUESTS)
    requests = [http_calls.get(STATUS), http_calls.get(BARE)]
    floods = (partial(http_calls.flood, gateway.port, request, CONNECTIONS, count) for request in requests)
    taken = alternate(setup.rounds, *(partial(timed, flood) for flood in floods))
    ours, bare = (rates(count, seconds) for seconds in taken)
    with ExitStack() as stack:
        calls = []
        for request in requests:
            connection = http_calls.Connection(gateway.port)
            stack.callback(connection.close)
            calls.append(partial(_seconds, partial(connection.call, request)))
        rounds = alternate(setup.rounds, *(partial(milliseconds, call, count // 4) for call in calls))
    ours_ms, bare_ms = ([percentile(sorted(times), 0.5) for times in of] for of in rounds)
    label = "GET " + STATUS
    return [
        Figure("status.labkit", label, ours, _(REQUESTS_PER_S)),
        Figure("status.bare", _(BARE_ROUTE), bare, _(REQUESTS_PER_S)),
        Figure("status.ratio", f"{LABKIT} / {_(BARE_ROUTE)}", ratios(ours, bare), TIMES),
        Figure("status.p50", f"p50: {label}", ours_ms, "ms"),
        Figure("status.p50_bare", f"p50: {_(BARE_ROUTE)}", bare_ms, "ms"),
        Figure("status.p50_ratio", f"p50: {LABKIT} / {_(BARE_ROUTE)}", ratios(ours_ms, bare_ms), TIMES),
    ]


def _one_picture(gateway: Served, cluster: Cluster, setup: Setup) -> list[Figure]:
    from labkit.imaging import image_files

    data = image_files.encode(resized_photos(SIDE, SIDE, 1)[0], "jpeg")
    count = setup.size(CALLS, QUICK_CALLS)
    with ExitStack() as stack:
        client = stack.enter_context(cluster.client("bench"))
        connection = http_calls.Connection(gateway.port)
        stack.callback(connection.close)
        over_http = partial(connection.call, http_calls.upload("/api/process/", "image", data))
        by_client = partial(_by_client, client, data)
        if over_http() != by_client():
            raise BenchFailed(N_("the gateway gave another picture than the client"))
        [rounds] = alternate(setup.rounds, partial(_in_turn, over_http, by_client, count))
    http_ms, client_ms = ([percentile(sorted(of[side]), 0.5) for of in rounds] for side in (0, 1))
    own = [http - client for http, client in zip(http_ms, client_ms, strict=True)]
    return [
        Figure("process.http", "p50: POST /api/process/", http_ms, "ms"),
        Figure("process.client", _("p50: the same through the client"), client_ms, "ms"),
        Figure("process.ratio", _("p50: HTTP / client"), ratios(http_ms, client_ms), TIMES),
        Figure("process.own", _("the gateway's own share"), own, "ms"),
    ]


def _batch(gateway: Served, executor: Executor, setup: Setup) -> list[Figure]:
    from labkit.imaging import photos

    count = setup.size(BATCH, QUICK_BATCH)
    own = [photo.bytes() for photo in photos.bundled()]
    pictures = [own[number % len(own)] for number in range(count)]
    body = {"filters": list(FILTERS), "filter_params": PARAMETERS, "count": count}
    request = http_calls.post(
        "/api/process-batch/distributed/?wait=60", json.dumps(body).encode(), "application/json"
    )
    connection = http_calls.Connection(gateway.port)
    try:
        batches: list[Callable[[], object]] = [
            partial(_http_batch, connection, request, count),
            partial(_array_batch, executor, pictures),
            partial(process_encoded_batch, executor, pictures, FILTERS, PARAMETERS),
        ]
        taken = alternate(setup.rounds, *(partial(timed, batch) for batch in batches))
    finally:
        connection.close()
    http, arrays, files = (rates(count, seconds) for seconds in taken)
    return [
        Figure("batch.http", _("batch over HTTP"), http, _(IMAGES_PER_S)),
        Figure("batch.process_batch", "process_batch", arrays, _(IMAGES_PER_S)),
        Figure("batch.files", "process_encoded_batch", files, _(IMAGES_PER_S)),
        Figure("batch.ratio", "HTTP / process_batch", ratios(http, arrays), TIMES, BATCH_TARGET),
        Figure("batch.files_ratio", "HTTP / process_encoded_batch", ratios(http, files), TIMES, BATCH_TARGET),
    ]


def _http_batch(connection: http_calls.Connection, request: bytes, count: int) -> None:
    answer = json.loads(connection.call(request))
    if answer["processed_count"] != count:
        raise BenchFailed(
            N_("of {count} pictures only {done} came back over HTTP"),
            count=count,
            done=answer["processed_count"],
        )


def _array_batch(executor: Executor, files: list[bytes]) -> list[bytes]:
    """Return what the gateway returns: the files decoded here, filtered on the cluster, and encoded here."""
    from labkit.imaging import image_files

    arrays = [image_files.decode(file) for file in files]
    results = process_batch(executor, arrays, FILTERS, PARAMETERS)
    return [image_files.encode(result, "png") for result in results]


def _by_client(client: Client, data: bytes) -> bytes:
    result: bytes = client.submit(process_encoded, data, [("sharpen", {})], "jpeg").result(60)
    return result


def _in_turn(one: Callable[[], object], other: Callable[[], object], count: int) -> list[list[float]]:
    """Return the milliseconds of both, in turn: their difference is small beside their spread."""
    return [list(times) for times in zip(*((_ms(one), _ms(other)) for _call in range(count)), strict=True)]


def _ms(call: Callable[[], object]) -> float:
    return _seconds(call) * 1e3


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
