"""The figures of a cluster: as JSON for people and programs, and in Prometheus' own format.

Counters come from the history, which the gateway follows; states and the queue from the broker's status.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from labkit.core import history as h

if TYPE_CHECKING:
    from labkit.cluster.status import ClusterStatus
    from labkit.gateway.gateway import Gateway

STATES = ("ready", "busy", "suspect", "draining", "lost", "left", "absent")
OUTCOMES = {"done": h.DONE, "failed": h.FAILED, "cancelled": h.CANCELLED}


def as_json(gateway: Gateway, status: ClusterStatus) -> dict[str, Any]:
    """Return the figures for ``GET /api/metrics/``; times are seconds."""
    counts = gateway.live.counts()
    latencies = gateway.live.latencies()
    broker = status["broker"]
    return {
        "tasks": {
            "submitted": counts[h.SUBMITTED],
            **{name: counts[kind] for name, kind in OUTCOMES.items()},
            "requeued": counts[h.REQUEUED],
            "poisoned": counts[h.POISONED],
            "duplicates": counts[h.DUPLICATE],
        },
        "queue": {
            "waiting": None if broker is None else broker["queued"],
            "in_flight": None if broker is None else broker["assigned"],
        },
        "workers": states(status),
        "results_by_worker": gateway.live.results(),
        "restarts_by_worker": gateway.live.restarts(),
        "waiting_s": {"p50": latencies.waiting_p50, "p95": latencies.waiting_p95},
        "service_s": {"p50": latencies.service_p50, "p95": latencies.service_p95},
    }


def states(status: ClusterStatus) -> dict[str, int]:
    """Return how many workers are in each of the broker's states."""
    found = [row["status"] for row in (*status["workers"], *status["guests"])]
    return {state: found.count(state) for state in STATES}


class ClusterCollector(Collector):
    """What Prometheus collects, made anew at each scrape."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        live, status = self._gateway.live, self._gateway.status.get()
        counts, broker = live.counts(), status["broker"]
        tasks = CounterMetricFamily("labkit_tasks", "Tasks that have ended, by outcome.", labels=["outcome"])
        for name, kind in OUTCOMES.items():
            tasks.add_metric([name], counts[kind])
        yield tasks
        yield CounterMetricFamily("labkit_submitted", "Tasks submitted.", value=counts[h.SUBMITTED])
        yield CounterMetricFamily("labkit_requeued", "Attempts sent again.", value=counts[h.REQUEUED])
        yield CounterMetricFamily("labkit_poisoned", "Poison tasks.", value=counts[h.POISONED])
        yield GaugeMetricFamily("labkit_up", "Whether the broker answers.", value=float(broker is not None))
        if broker is not None:
            yield GaugeMetricFamily("labkit_queue", "Tasks that wait for a worker.", value=broker["queued"])
            yield GaugeMetricFamily("labkit_in_flight", "Tasks sent to workers.", value=broker["assigned"])
        workers = GaugeMetricFamily("labkit_workers", "Workers, by state.", labels=["state"])
        for state, count in states(status).items():
            workers.add_metric([state], count)
        yield workers
        results = CounterMetricFamily("labkit_results", "Results, by worker.", labels=["worker"])
        for name, count in live.results().items():
            results.add_metric([name], count)
        yield results
        restarts = CounterMetricFamily("labkit_restarts", "Times a worker joined again.", labels=["worker"])
        for name, count in live.restarts().items():
            restarts.add_metric([name], count)
        yield restarts
        for name, what, histogram in (
            ("labkit_waiting_seconds", "From submission to the first dispatch.", live.waiting_histogram),
            ("labkit_service_seconds", "From the last dispatch to the outcome.", live.service_histogram),
        ):
            yield HistogramMetricFamily(name, what, buckets=histogram.cumulative(), sum_value=histogram.sum)


def registry_of(gateway: Gateway) -> CollectorRegistry:
    """Return a registry with the cluster's figures, and nothing of this process."""
    registry = CollectorRegistry()
    registry.register(ClusterCollector(gateway))
    return registry
