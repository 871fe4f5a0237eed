"""Cases: clients that flood, vanish, or do not know the cluster's secret."""

from __future__ import annotations

import os
import statistics
import sys
import time

import psutil

from labkit.client.client import Client
from labkit.core import history as h
from labkit.core.errors import N_, AccessDenied, LabkitError
from labkit.core.protocol import exit_codes
from labkit.faults.case import case
from labkit.faults.test_bed import TestBed
from labkit.jobs import echo
from labkit.security.credentials import Token

FLOODING, EACH = 3, 3_000
QUEUE = 2_000
QUOTA = 1_500
PAYLOAD = 4_000
ROOM_BYTES = 48 << 20
"""How much the broker may grow under the flood: a queue of 8 MB, its tables, buffers, and slack."""
GONE_S = 3.0
NAMED_WITHIN_S = 3.0

VISITOR = """
import os
from labkit.security import credentials
from labkit.client.client import Client
from labkit.jobs import sleep_for
from labkit.support.settings import Settings
proof = credentials.of_client(Settings.from_environment())
client = Client(os.environ["VISITED"], proof, name="visitor")
futures = [client.submit(sleep_for, 1.0, deadline_s=60) for _ in range(30)]
futures[-1].result()
"""
"""A program that submits thirty tasks and waits; it is killed before it has the results."""


@case(
    "flood",
    fault=N_("three clients submit 9,000 tasks to a queue of 2,000"),
    promise=N_("they get BUSY and wait; another client is served; heartbeats on time; memory stays bounded"),
    rules={"max_queued_tasks": QUEUE, "max_client_tasks": QUOTA, "busy_retry_s": 0.05},
)
def flood(bed: TestBed) -> None:
    """Let three clients submit far more than fits, and measure how a fourth one is served."""
    work, judge = bed.work, bed.judge
    broker = psutil.Process(bed.pid_of("broker"))
    fourth = bed.client("fourth")
    fourth.submit(echo, 0).result(30)
    before = peak = broker.memory_info().rss
    payload = os.urandom(PAYLOAD)
    clients = [bed.client(f"flooding {number}") for number in range(FLOODING)]
    # Encoded beforehand, so that the flood comes all at once.
    floods = [[client.prepare(echo, (payload,), {}) for _ in range(EACH)] for client in clients]
    began = time.monotonic()
    for client, calls in zip(clients, floods, strict=True):
        for future in client.submit_prepared(calls):
            work.add(future, payload)
    took: list[float] = []
    while work.done < len(work.futures) or not took:
        asked_at = time.perf_counter()
        fourth.submit(echo, 1).result(60)
        took.append(time.perf_counter() - asked_at)
        peak = max(peak, broker.memory_info().rss)
    bed.finish_work()
    flooded_s = time.monotonic() - began
    judge.within(N_("another client's task takes {seconds}"), statistics.median(took), 0.5, began)
    counters = fourth.status()["counters"]
    refused = counters.get("refused_tasks", 0)
    # A program that lost the time in which the workers empty a whole queue has not flooded it.
    queue_s = flooded_s * QUEUE / (FLOODING * EACH)
    judge.unless_slow(N_("{n} submissions received BUSY"), refused, queue_s, began, n=refused)
    judge.true(
        N_("the broker grew by {mib:.0f} MiB"), peak - before <= ROOM_BYTES, mib=(peak - before) / (1 << 20)
    )
    suspects = len(bed.events(h.SUSPECT))
    rules = bed.settings.rules
    judge.unless_slow(
        N_("{n} workers silent for long"), suspects == 0, rules.suspect_s - rules.heartbeat_s, n=suspects
    )
    bed.expect_no_loss()


@case(
    "client-vanishes",
    fault=N_("kill -9 of a client with thirty open tasks"),
    promise=N_("open tasks are cancelled client_gone_s later (3 s here, 10 s usually); others are unharmed"),
    workers=2,
    rules={"client_gone_s": GONE_S},
)
def client_vanishes(bed: TestBed) -> None:
    """Kill a client program when one of its tasks has started."""
    work, judge = bed.work, bed.judge
    client = bed.client()
    visitor = bed.spawn(
        "visitor",
        [sys.executable, "-P", "-c", VISITOR],
        {"VISITED": bed.cluster.address, "LABKIT_TOKEN_FILE": str(bed.token_file)},
    )

    def of_visitor() -> set[str]:
        return {e.task for e in bed.events(h.SUBMITTED) if e.detail.get("client") == "visitor"}

    bed.wait_until(lambda: len(of_visitor()) == 30, N_("the client did not submit within {seconds:g} s"))
    theirs = of_visitor()
    bed.wait_for_start(among=theirs)
    client.note("kill", "client")
    killed_at = time.monotonic()
    visitor.kill()
    work.sleepers(client, 60, 0.02)

    def ended() -> bool:
        return {row.task for row in bed.history.ledger() if row.outcome} >= theirs

    bed.wait_until(ended, N_("its tasks were still open after {seconds:g} s"))
    cancelled = [event for event in bed.events(h.CANCELLED) if event.task in theirs]
    causes = {event.detail["cause"] for event in cancelled}
    judge.true(N_("{n} of its tasks were cancelled"), causes == {"client gone"}, n=len(cancelled))
    last_s = max(event.at for event in cancelled) - killed_at if cancelled else 0.0
    judge.within(N_("{seconds} after it was killed"), last_s, GONE_S + 1.0, killed_at)
    judge.true(N_("and not too early"), last_s >= GONE_S - 0.1)
    judge.detected(last_s)
    bed.finish_work()
    bed.expect_no_loss()


@case(
    "stranger",
    fault=N_("a client and a worker with a wrong secret"),
    promise=N_("each gets a named error within 3 s and never reaches the application"),
    workers=1,
)
def stranger(bed: TestBed) -> None:
    """Connect a client and a worker with a wrong secret while the cluster works."""
    work, judge = bed.work, bed.judge
    client = bed.client()
    work.sleepers(client, 100, 0.02)
    bed.wait_for_start()
    wrong = bed.cluster.folder / "wrong-token"
    wrong.write_text("0" * 64 + "\n", encoding="ascii")
    pid = bed.pid_of("broker")
    began = time.monotonic()
    error = _refused(bed)
    judge.within(N_("the client knows after {seconds}"), time.monotonic() - began, NAMED_WITHIN_S, began)
    judge.detected(time.monotonic() - began)
    judge.true(N_("by name: {error}"), isinstance(error, AccessDenied), error=type(error).__name__)
    began = time.monotonic()
    process = bed.start_worker("stranger", LABKIT_TOKEN_FILE=str(wrong))
    bed.wait_until(lambda: process.poll() is not None, N_("it still ran after {seconds:g} s"))
    judge.within(N_("the worker after {seconds}"), time.monotonic() - began, NAMED_WITHIN_S, began)
    judge.count(N_("exit code {n}"), process.returncode, exit_codes.DENIED)
    bed.finish_work()
    known = {event.worker for event in bed.events() if event.worker} | {
        str(event.detail.get("client", "")) for event in bed.events(h.SUBMITTED)
    }
    judge.true(N_("the broker never learned of them"), "stranger" not in known)
    judge.true(N_("it is the same broker"), bed.pid_of("broker") == pid)


def _refused(bed: TestBed) -> LabkitError | None:
    """Return the error of a client with a wrong secret, None if it was admitted."""
    try:
        with Client(bed.cluster.address, Token("0" * 64), name="stranger", connect_timeout_s=10.0):
            return None
    except LabkitError as error:
        return error
