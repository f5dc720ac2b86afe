"""Metrics for Prometheus, in a registry of our own. Home of prometheus_client.

Where `PROMETHEUS_MULTIPROC_DIR` is set before the process starts, worker processes write into that folder and any of
them shows the sums of all.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from plano_asgi.errors import MissingExtraError
from plano_asgi.observe.metrics import METRICS, Metric, MetricKind

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
except ModuleNotFoundError as error:
    raise MissingExtraError("prometheus", needed_for="the setting telemetry.prometheus") from error

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class PrometheusInstruments:
    """Keeps every metric's values; bounded by what labels there can be.

    Attributes:
        content_type: Of the exposition.
        is_live: True.
    """

    content_type: Final[str] = CONTENT_TYPE_LATEST
    is_live: Final = True

    def __init__(self) -> None:
        """Register the metrics."""
        self._registry = CollectorRegistry()
        self._of: Mapping[str, Any] = {metric.name: self._registered(metric) for metric in METRICS}
        about = Gauge(
            "plano_build_info", "Always 1.", ("version",), registry=self._registry, multiprocess_mode="mostrecent"
        )
        about.labels(version("plano-asgi")).set(1)

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter, record in a histogram, or set a gauge; what is not Prometheus's is left out."""
        family = self._of.get(metric.name)
        if family is None:
            return
        child = family.labels(*labels) if labels else family
        if metric.kind is MetricKind.COUNTER:
            child.inc(value)
        elif metric.kind is MetricKind.HISTOGRAM:
            child.observe(value)
        else:
            child.set(value)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format; of all worker processes, where they share a folder."""
        if not os.environ.get(FOLDER_VARIABLE):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no types
        return generate_latest(registry)

    def _registered(self, metric: Metric) -> Counter | Gauge | Histogram:
        name = metric.prometheus_name
        if metric.kind is MetricKind.COUNTER:
            return Counter(name, metric.help, metric.labels, registry=self._registry)
        if metric.kind is MetricKind.HISTOGRAM:
            return Histogram(name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets)
        if metric.labels:
            return Gauge(name, metric.help, metric.labels, registry=self._registry, multiprocess_mode="livemax")
        return Gauge(name, metric.help, registry=self._registry, multiprocess_mode="livesum")
