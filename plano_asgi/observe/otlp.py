"""Sending spans and metrics to an OTLP/HTTP receiver, in batches and beside the calls; for processes that are ours.

The standard `OTEL_*` variables hold; `telemetry.otlp` names the receiver where they do not.
"""

import os
from threading import Thread
from time import monotonic
from typing import Final

from plano_asgi.errors import MissingExtraError

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
except ModuleNotFoundError as error:
    raise MissingExtraError("otel", needed_for="sending telemetry (telemetry.otlp)") from error

ENDPOINT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
CLOSE_S: Final = 3.0
_NAME: Final = "plano-asgi"
_NAME_VARIABLES: Final = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")


class OtlpExport:
    """Providers of tracers and meters whose records are sent away; bounded by the SDK's own queues.

    Attributes:
        tracers: Makes tracers.
        meters: Makes meters.
    """

    def __init__(self, endpoint: str | None) -> None:
        """Start to send; `endpoint` is a URL without `/v1/traces`, None for what the variables say."""
        base = None if endpoint is None or os.environ.get(ENDPOINT_VARIABLE) else endpoint.rstrip("/")
        is_named = any(os.environ.get(name) for name in _NAME_VARIABLES)
        resource = Resource.create({} if is_named else {SERVICE_NAME: _NAME})
        self.tracers = TracerProvider(resource=resource)
        if os.environ.get("OTEL_TRACES_EXPORTER") != "none":
            spans = OTLPSpanExporter(endpoint=base and f"{base}/v1/traces")
            self.tracers.add_span_processor(BatchSpanProcessor(spans))
        readers: list[MetricReader] = []
        if os.environ.get("OTEL_METRICS_EXPORTER") != "none":
            metrics = OTLPMetricExporter(endpoint=base and f"{base}/v1/metrics")
            readers = [PeriodicExportingMetricReader(metrics)]
        self.meters = MeterProvider(metric_readers=readers, resource=resource)

    def close(self) -> None:
        """Send what is left, and stop; blocks for three seconds at the most, then the rest is lost."""
        closings = [Thread(target=part.shutdown, daemon=True) for part in (self.tracers, self.meters)]
        until = monotonic() + CLOSE_S
        for closing in closings:
            closing.start()
        for closing in closings:
            closing.join(max(0.0, until - monotonic()))
