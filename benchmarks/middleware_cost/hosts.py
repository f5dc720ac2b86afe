"""The app, bare and wrapped, and what a client sends to it."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.middleware_cost.cases import BODY_BYTES, Case
from plano_asgi import PlanoMiddleware, RoutingPolicy
from plano_asgi.assembly import build_router
from plano_asgi.classify import Classifier, IsAwaited, always_awaited
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.events import listen
from plano_asgi.observe import CallObserver
from plano_asgi.observe.decision_stores import MemoryDecisions
from plano_asgi.observe.journal import DecisionJournal
from plano_asgi.observe.measures import Measures
from plano_asgi.observe.otel_metrics import OtelInstruments
from plano_asgi.observe.prometheus import PrometheusInstruments
from plano_asgi.observe.tracing import Tracing
from plano_asgi.router import Router
from plano_asgi.settings import STARTING_FILE, load_settings
from plano_asgi.testing import FixedClassifier

ANSWER: Final = b'{"ok":true}'
CLIENT_HEADERS: Final = {
    "host": "127.0.0.1",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "content-type": "application/json",
    "user-agent": "OpenAI/Python 3.0.0",
    "authorization": "Bearer of-nobody",
    "x-stainless-lang": "python",
    "x-stainless-runtime": "CPython",
    "x-stainless-retry-count": "0",
}


async def bare_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer with a little JSON."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class TimedClassifier:
    """A classifier that keeps the seconds that its last answer took."""

    def __init__(self, timed: Classifier) -> None:
        """Take the classifier to be timed."""
        self.kind, self.revision = timed.kind, timed.revision
        self.threshold, self.deadline_ms = timed.threshold, 10_000.0
        self.parallelism = timed.parallelism
        self.prepare, self.close = timed.prepare, timed.close
        self.took_s = 0.0
        self._timed = timed

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return what the timed one says."""
        started = perf_counter()
        try:
            return self._timed.classify(conversation, policy, is_awaited=is_awaited)
        finally:
            self.took_s = perf_counter() - started


@cache
def embedded() -> EmbeddedClassifier:
    """Return the shipped classifier, loaded once."""
    return EmbeddedClassifier()


@contextmanager
def wrapped(case: Case) -> Iterator[tuple[ASGIApp, TimedClassifier]]:
    """Give the app inside the middleware, and the middleware's classifier."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "plano.yaml"
        config.write_text(STARTING_FILE, encoding="utf-8")
        settings = load_settings(config, environ={})
    timed = embedded() if case.is_embedded else FixedClassifier({"complex_reasoning": 0.9})
    classifier = TimedClassifier(timed)
    router = build_router(settings, classifier=classifier)
    router.start()
    app = PlanoMiddleware(bare_app, settings=settings, router=router)
    if not case.is_observed:
        yield app, classifier
    else:
        with observed(router):
            yield app, classifier
    router.close()


class NoSpans(SpanExporter):
    """Sends spans nowhere."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Be done."""
        del spans
        return SpanExportResult.SUCCESS


@contextmanager
def observed(router: Router) -> Iterator[None]:
    """Let all that there is watch a router's calls: spans in batches, metrics of both kinds, a decision log."""
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(NoSpans()))
    kind = router.classifier.kind
    measures = Measures([PrometheusInstruments(), OtelInstruments(meters)], catalog=router.catalog, classifier=kind)
    listen(measures)
    store = MemoryDecisions(size=1_000, ttl_s=3_600)
    journal = DecisionJournal(store, classifier=kind, hash_key=b"key", keeps_conversations=True)
    tracing = Tracing(router.catalog, classifier=kind, provider=tracers)
    router.observer = CallObserver(tracing=tracing, measures=measures, journal=journal)
    yield
    tracers.shutdown()
    meters.shutdown()


def body_of(number: int) -> bytes:
    """Return a conversation of `BODY_BYTES` bytes that ends with a turn of that number."""
    turns = [
        {"role": "system", "content": "You are the assistant of a small shop. Be brief, friendly and exact. "},
        {"role": "user", "content": "My label printer prints every second label twice."},
        {"role": "assistant", "content": "Which version of its driver do you use?"},
        {"role": "user", "content": f"Version {number:09}. Write a script that removes the doubled jobs."},
    ]
    missing = BODY_BYTES - len(json.dumps({"model": "auto", "messages": turns}))
    turns[0]["content"] += "x " * (missing // 2) + "x" * (missing % 2)
    return json.dumps({"model": "auto", "messages": turns}).encode()


def head_of(body: bytes) -> Mapping[str, str]:
    """Return the headers that a client sends with a body."""
    return {**CLIENT_HEADERS, "content-length": str(len(body))}
