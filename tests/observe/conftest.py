"""A provider, a gateway that asks it, a receiver of telemetry, and a host that has set OpenTelemetry up."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY: Final = "sk-canary-of-a-key"
PROMPT: Final = "canary words of a caller"
ANSWER: Final = "canary words of a model"
CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
RESPONSES: Final = "/v1/responses"
CALL: Final[Mapping[str, Any]] = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
USAGE: Final = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}


@dataclass
class Provider:
    """A provider of all three APIs on loopback; its model `down` fails.

    Attributes:
        url: Where it is.
        heard: The headers of the calls so far.
    """

    url: str = ""
    heard: list[Mapping[str, str]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        """Answer a call, whole or as a stream."""
        call = json.loads(await request.body())
        self.heard.append(dict(request.headers))
        if call["model"] == "down":
            return JSONResponse({"error": {"message": f"down: {KEY}", "type": "server_error"}}, 503)
        head = {"id": "c", "created": 0, "model": call["model"]}
        if not call.get("stream"):
            message = {"role": "assistant", "content": ANSWER}
            choices: list[dict[str, object]] = [{"index": 0, "finish_reason": "stop", "message": message}]
            return JSONResponse({**head, "object": "chat.completion", "choices": choices, "usage": USAGE})
        choices = [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}]
        chunks = [{**head, "choices": choices}, {**head, "choices": [], "usage": USAGE}]
        texts = [*(json.dumps({**chunk, "object": "chat.completion.chunk"}) for chunk in chunks), "[DONE]"]
        return StreamingResponse((f"data: {text}\n\n" for text in texts), media_type="text/event-stream")

    async def answer_message(self, request: Request) -> Response:
        """Answer a Messages call, whole or as a stream."""
        call = json.loads(await request.body())
        self.heard.append(dict(request.headers))
        text, usage = {"type": "text", "text": ANSWER}, {"input_tokens": 7, "output_tokens": 4}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": call["model"], "content": [text]}
        if not call.get("stream"):
            return JSONResponse({**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage})
        return events(
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
            {"type": "message_stop"},
        )

    async def answer_response(self, request: Request) -> Response:
        """Answer a Responses call, whole or as a stream."""
        call = json.loads(await request.body())
        self.heard.append(dict(request.headers))
        part = {"type": "output_text", "text": ANSWER, "annotations": []}
        item = {"id": "i", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        usage = {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11}
        head = {"id": "resp_1", "object": "response", "created_at": 0, "model": call["model"], "error": None}
        whole = {**head, "status": "completed", "output": [item], "usage": usage}
        if not call.get("stream"):
            return JSONResponse(whole)
        begun, place = {**head, "status": "in_progress", "output": []}, {"output_index": 0, "content_index": 0}
        return events(
            {"type": "response.created", "response": begun},
            {"type": "response.output_text.delta", "delta": ANSWER, "item_id": "i", "logprobs": [], **place},
            {"type": "response.completed", "response": whole},
        )


def events(*told: Mapping[str, Any]) -> Response:
    """Return a stream of events that bear the names of their types."""
    texts = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in told)
    return StreamingResponse(texts, media_type="text/event-stream")


@pytest.fixture(scope="module")
def running_provider(serve: Callable[[Starlette], str]) -> Provider:
    """Serve the provider."""
    provider = Provider()
    answers = {CHAT: provider.answer, MESSAGES: provider.answer_message, RESPONSES: provider.answer_response}
    provider.url = serve(Starlette(routes=[Route(path, answer, methods=["POST"]) for path, answer in answers.items()]))
    return provider


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    """Return the provider, which has heard nothing yet."""
    running_provider.heard.clear()
    return running_provider


@pytest.fixture
def forwarding(provider: Provider) -> str:
    """Return the configuration of a gateway: the route `code` goes to a model that is down, then to one that is not."""
    place = f"base_url: '{provider.url}/v1', access_key: {KEY}"
    return f"""\
mode: forward
forward: {{connect_s: 10, first_byte_s: 20, answer_s: 20}}
model_providers:
  - {{model: openai/gpt-4o-mini, default: true, {place}}}
  - {{model: mistral/down, {place}}}
  - {{model: openai/gpt-4o, {place}}}
prices:
  openai/gpt-4o: {{input: 1000, output: 2000}}
routing_preferences:
  - {{name: code, description: writing code, models: [mistral/down, openai/gpt-4o]}}
"""


@dataclass
class Receiver:
    """A receiver of OTLP over HTTP.

    Attributes:
        url: Where it is.
        spans: By name, the spans that came, as protobuf.
        metrics: By name, the latest of each metric that came, as protobuf.
        services: The names of the services that sent them.
        bodies: What came, as bytes.
    """

    url: str = ""
    spans: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)

    async def receive(self, request: Request) -> Response:
        """Decode what comes."""
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bodies.append(body)
        resources: Any
        if request.url.path == "/v1/traces":
            resources = ExportTraceServiceRequest.FromString(body).resource_spans
            found = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
            self.spans |= {span.name: span for span in found}
        else:
            resources = ExportMetricsServiceRequest.FromString(body).resource_metrics
            found = [metric for resource in resources for scope in resource.scope_metrics for metric in scope.metrics]
            self.metrics |= {metric.name: metric for metric in found}
        for resource in resources:
            about = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            self.services.add(about["service.name"])
        return Response(b"", media_type="application/x-protobuf")


@pytest.fixture
def receiver(serve: Callable[[Starlette], str]) -> Receiver:
    """Serve a receiver."""
    receiver = Receiver()
    paths = ("/v1/traces", "/v1/metrics")
    receiver.url = serve(Starlette(routes=[Route(path, receiver.receive, methods=["POST"]) for path in paths]))
    return receiver


@dataclass(frozen=True)
class Host:
    """What a host app has set up for its whole process.

    Attributes:
        spans: Keeps the spans.
        metrics: Keeps the metrics.
        tracers: Makes tracers.
    """

    spans: InMemorySpanExporter
    metrics: InMemoryMetricReader
    tracers: TracerProvider

    def span(self, name: str) -> ReadableSpan:
        """Return the latest span of a name."""
        return next(span for span in reversed(self.spans.get_finished_spans()) if span.name == name)

    def metric_names(self) -> set[str]:
        """Return the names of all metrics that have a value."""
        found = self.metrics.get_metrics_data()
        scopes = [scope for resource in found.resource_metrics for scope in resource.scope_metrics] if found else []
        return {metric.name for scope in scopes for metric in scope.metrics}


@pytest.fixture(scope="session")
def process_telemetry() -> Iterator[Host]:
    """Set OpenTelemetry's metrics up for the process, which can be done once."""
    tracers, reader = TracerProvider(), InMemoryMetricReader()
    host, meters = Host(InMemorySpanExporter(), reader, tracers), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(host.spans))
    metrics.set_meter_provider(meters)
    yield host
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture
def host(process_telemetry: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Return the host's telemetry, with no span in it; its tracers are the process's while the test runs."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", process_telemetry.tracers)
    process_telemetry.spans.clear()
    return process_telemetry
