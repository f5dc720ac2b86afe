"""Metrics by OpenTelemetry's API; without an SDK in the process nothing is kept of them."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Meter, MeterProvider, get_meter, get_meter_provider

from plano_asgi.observe.conventions import ERROR_TYPE
from plano_asgi.observe.metrics import GENAI_METRICS, METRICS, Metric, MetricKind


class OtelInstruments:
    """One instrument for each metric."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        """Create the instruments, by a provider of meters or else that of the process."""
        self._provider = provider
        meter = get_meter("plano_asgi", version("plano-asgi"), meter_provider=provider)
        self._of: Mapping[str, Any] = {metric.name: _created(meter, metric) for metric in (*METRICS, *GENAI_METRICS)}

    @property
    def is_live(self) -> bool:
        """Whether there is an SDK behind the API, whose own provider keeps nothing."""
        return not type(self._provider or get_meter_provider()).__module__.startswith(metrics.__name__)

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter, record in a histogram, or set a gauge; there is no `error.type` where nothing failed."""
        attributes = {
            name: label for name, label in zip(metric.labels, labels, strict=True) if label or name != ERROR_TYPE
        }
        instrument = self._of[metric.name]
        if metric.kind is MetricKind.COUNTER:
            instrument.add(value, attributes)
        elif metric.kind is MetricKind.HISTOGRAM:
            instrument.record(value, attributes)
        else:
            instrument.set(value, attributes)


@cache
def instruments_of_the_process() -> OtelInstruments:
    """Return the instruments of the process's own provider, whichever that will be; there is one set of them."""
    return OtelInstruments()


def _created(meter: Meter, metric: Metric) -> object:
    if metric.kind is MetricKind.COUNTER:
        return meter.create_counter(metric.name, metric.unit, metric.help)
    if metric.kind is MetricKind.GAUGE:
        return meter.create_gauge(metric.name, metric.unit, metric.help)
    return meter.create_histogram(
        metric.name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=metric.buckets
    )
