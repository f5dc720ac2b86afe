"""Prices and latencies that other servers keep: read beside the calls, and never a reason that one waits or fails."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from structlog.testing import capture_logs

from plano_asgi.assembly import build_router
from plano_asgi.assembly import model_metrics as assembling
from plano_asgi.assembly.model_metrics import build_model_metrics
from plano_asgi.assembly.service import build_service
from plano_asgi.catalogues import SourceValues
from plano_asgi.catalogues.price_catalogs import digitalocean_prices, models_dev_prices
from plano_asgi.catalogues.prometheus_query import latencies
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.errors import ConfigurationError, NetworkError
from plano_asgi.events import MODEL_METRICS_FAILED, MODEL_METRICS_READ
from plano_asgi.prices import Price
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

SettingsOf = Callable[[str], Settings]

DATA: Final = Path(__file__).parent / "data"
CATALOG: Final = (DATA / "models_dev.json").read_bytes()
OCEAN: Final = (DATA / "digitalocean_models.json").read_bytes()
LARGE: Final = Price(input=3, output=10, cache_read=0.3, cache_write=3.75)
SMALL: Final = Price(input=0.5, output=1.5)
VECTOR: Final = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"model_name": "maker/large"}, "value": [1.5, "0.8"]},
            {"metric": {"model_name": "small"}, "value": [1.5, "1.9"]},
            {"metric": {"model_name": "maker/silent"}, "value": [1.5, "NaN"]},
            {"metric": {"job": "x"}, "value": [1.5, "0.1"]},
            {"metric": {"model_name": "odd"}, "value": []},
        ],
    },
}
POOL: Final = """
model_providers:
  - {model: maker/large, default: true}
  - {model: maker/small}
  - {model: maker/silent}
routing_preferences:
  - name: work
    description: work of all kinds
    models: [maker/silent, maker/large, maker/small]
    selection_policy: {prefer: PREFER}
model_metrics_sources:
"""
FORKED: Final = """
import os, sys, time
from plano_asgi.catalogues import SourceValues
read = lambda: {"by": os.getpid()}
values = SourceValues("test", read, every_s=0.05)
values.start()
def known():
    until = time.monotonic() + 5
    while values.get("by") != os.getpid() and time.monotonic() < until:
        time.sleep(0.01)
    return values.get("by") == os.getpid()
assert known()
child = os.fork()
if child == 0:
    os._exit(0 if known() else 1)
assert os.waitpid(child, 0)[1] == 0
values.stop()
print("both")
"""


class Source:
    """A server whose answer can be changed while it runs."""

    def __init__(self) -> None:
        """Serve nothing of use."""
        self.status, self.body, self.asked = 200, b"{}", list[str]()
        self.may_answer = Event()
        self.may_answer.set()
        source = self

        class Handler(BaseHTTPRequestHandler):
            """Answers what the source is set to."""

            def do_GET(self) -> None:
                """Answer what is to be answered now."""
                source.asked.append(self.path)
                source.may_answer.wait(10)
                self.send_response(source.status)
                self.send_header("content-length", str(len(source.body)))
                self.end_headers()
                self.wfile.write(source.body)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        class Server(ThreadingHTTPServer):
            """Says nothing of clients that go away."""

            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def source() -> Iterator[Source]:
    """Return a server that tells of models."""
    source = Source()
    yield source
    source.may_answer.set()
    source.server.shutdown()
    source.server.server_close()


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, five seconds at the most."""
    deadline = monotonic() + 5
    while not is_so():
        assert monotonic() < deadline, "it never came to be"
        sleep(0.005)


def decided(router: Router) -> tuple[str, ...]:
    """Return the models of the route in the order in which they would be tried now."""
    said = (Message(role=Role.USER, text="work"),)
    return router.route(LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=said)).models


def routed_by(settings: Settings) -> Router:
    """Return a router that takes every call for work, and remembers no session."""
    return build_router(settings, classifier=FixedClassifier({"work": 1.0}))


def test_models_dev_is_read_by_provider_and_model() -> None:
    """A model costs what its provider asks; one without a whole price is not listed."""
    prices = models_dev_prices(CATALOG)

    assert (prices["maker/large"], prices["maker/small"]) == (LARGE, SMALL)
    assert not {name for name in prices if name.endswith(("silent", "half", "odd", "negative"))}


def test_model_alone_costs_what_most_providers_ask() -> None:
    """Where nobody lists a provider, the bare name has the price that it has most often."""
    assert models_dev_prices(CATALOG)["small"] == SMALL


def test_digitalocean_is_read_for_a_million_tokens() -> None:
    """What the catalogue says for one token is a price for a million; the rest is passed over."""
    prices = digitalocean_prices(OCEAN)

    assert sorted(prices) == ["maker-large", "maker-small"]
    assert (prices["maker-large"].input, prices["maker-large"].output) == pytest.approx((3, 10))


def test_prometheus_is_read_by_its_label() -> None:
    """Each series with the label gives a value, and what is no number gives none."""
    told = latencies(orjson.dumps(VECTOR))

    assert (told["maker/large"], told["small"]) == (0.8, 1.9)
    assert sorted(told) == ["maker/large", "maker/silent", "small"]


json_texts = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "result", "status", "models", "cost", "pricing", "input", "model_id", "metric", "value"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
).map(orjson.dumps) | st.binary(max_size=40)


@pytest.mark.parametrize("read", [models_dev_prices, digitalocean_prices, latencies], ids=lambda read: read.__name__)
@given(body=json_texts)
@examples(max_examples=40)
def test_garbage_is_one_kind_of_error(read: Callable[[bytes], object], body: bytes) -> None:
    """Whatever a server sends, it is read or refused, and nothing else is raised."""
    with suppress(NetworkError):
        read(body)


def test_prices_of_a_source_stand_between_written_and_published_ones(source: Source, settings_of: SettingsOf) -> None:
    """What is written down wins; then comes the source, then what the installed package knows."""
    source.body = CATALOG.replace(b'"first-shop"', b'"openai"', 1)
    aliases = "model_aliases: {maker/large: mine/big}"
    metrics = build_model_metrics(
        settings_of(
            POOL.replace("PREFER", "none")
            + f"  - {{type: cost, provider: models.dev, url: '{source.url}', {aliases}}}\n"
            + "prices: {maker/small: {input: 7, output: 7}}"
        )
    )
    assert metrics.cost
    assert metrics.prices.price_of("maker/large") is None
    published = metrics.prices.price_of("openai/gpt-4o-mini")
    metrics.cost.start()

    until(lambda: metrics.prices.price_of("maker/large"))

    assert metrics.prices.price_of("maker/small") == Price(input=7, output=7)
    assert metrics.prices.price_of("mine/big") == LARGE
    assert metrics.prices.price_of("gemini/small") == SMALL
    assert metrics.prices.price_of("openai/gpt-4o-mini") == published
    assert metrics.prices.price_of("nobody/knows") is None
    metrics.cost.stop()


def test_catalogue_orders_a_pool_once_it_is_read(source: Source, settings_of: SettingsOf) -> None:
    """A router that is started reads prices beside the calls, and orders by them; closed, it asks no more."""
    source.body = OCEAN
    aliases = "model_aliases: {maker-large: maker/large, maker-small: maker/small}"
    written = f"  - {{type: cost, provider: digitalocean, url: '{source.url}', refresh_interval: 0.02, {aliases}}}"
    router = routed_by(settings_of(POOL.replace("PREFER", "cheapest") + written))
    before = decided(router)
    assert source.asked == []

    router.start()
    until(lambda: decided(router) != before)
    until(lambda: len(source.asked) > 2)
    assert decided(router) == ("maker/small", "maker/large", "maker/silent")
    router.close()

    asked = len(source.asked)
    sleep(0.1)
    assert len(source.asked) <= asked + 1, "one may have been under way"


def test_prometheus_stands_before_our_own_observations(source: Source, settings_of: SettingsOf) -> None:
    """The fastest by the query comes first; those that it does not know follow by what was observed here."""
    source.body = orjson.dumps(VECTOR)
    query = "avg by (model_name) (rate(x[5m]))"
    written = f"  - {{type: latency, provider: prometheus, url: '{source.url}/prom/', query: '{query}'}}"
    router = routed_by(settings_of(POOL.replace("PREFER", "fastest") + written))
    assert router.selecting
    router.selecting.speeds.note("maker/silent", first_token_s=0.001, token_s=None)
    router.selecting.speeds.note("maker/small", first_token_s=0.002, token_s=None)
    assert decided(router) == ("maker/silent", "maker/small", "maker/large")

    router.start()
    until(lambda: decided(router)[0] == "maker/large")

    assert decided(router) == ("maker/large", "maker/small", "maker/silent")
    asked = urlsplit(source.asked[0])
    assert (asked.path, parse_qs(asked.query)) == ("/prom/api/v1/query", {"query": [query]})
    router.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, CATALOG), "status 500"),
        ((302, CATALOG), "status 302"),
        ((200, b"<html>"), "no JSON"),
        ((200, b"{}"), "no price"),
        ((200, CATALOG + b" " * 5_000), "longer than 5000 bytes"),
    ],
    ids=["down", "redirect", "garbage", "empty", "huge"],
)
def test_failure_keeps_what_was_known_and_is_told_once(
    answer: tuple[int, bytes], said: str, source: Source, settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a source fails, prices stay, one line is logged for the whole of it, and another when it is back."""
    monkeypatch.setattr(assembling, "MOST_BYTES", 5_000)
    source.body = CATALOG
    written = f"  - {{type: cost, provider: models.dev, url: '{source.url}', refresh_interval: 0.02}}"
    metrics = build_model_metrics(settings_of(POOL.replace("PREFER", "none") + written))
    assert metrics.cost
    with capture_logs() as logged:
        metrics.cost.start()
        until(lambda: metrics.prices.price_of("maker/large"))
        source.status, source.body = answer
        until(lambda: [entry for entry in logged if entry["event"] == MODEL_METRICS_FAILED])
        asked = len(source.asked)
        until(lambda: len(source.asked) > asked + 2)
        assert metrics.prices.price_of("maker/large") == LARGE
        source.status, source.body = 200, CATALOG.replace(b'"input": 3,', b'"input": 2,')
        until(lambda: metrics.prices.price_of("maker/large") != LARGE)
        metrics.cost.stop()

    assert [entry["event"] for entry in logged].count(MODEL_METRICS_FAILED) == 1
    (failure,) = (entry for entry in logged if entry["event"] == MODEL_METRICS_FAILED)
    assert said in failure["detail"]
    assert failure["models"] > 0
    assert source.url not in str(logged)
    assert [entry["event"] for entry in logged].count(MODEL_METRICS_READ) >= 1


def test_slow_source_keeps_nobody_waiting(source: Source, settings_of: SettingsOf) -> None:
    """While a source does not answer, the router starts, decides and closes as if there were none."""
    source.may_answer.clear()
    written = f"  - {{type: cost, provider: models.dev, url: '{source.url}'}}"
    router = routed_by(settings_of(POOL.replace("PREFER", "cheapest") + written))

    began = monotonic()
    router.start()
    until(lambda: source.asked)
    assert decided(router) == ("maker/silent", "maker/large", "maker/small")
    router.close()

    assert monotonic() - began < 4


def test_service_prices_calls_as_its_router_orders_them(source: Source, settings_of: SettingsOf) -> None:
    """There is one list of prices: what the router's start reads is what the service accounts by."""
    source.body = CATALOG
    written = f"  - {{type: cost, provider: models.dev, url: '{source.url}'}}"
    settings = settings_of(POOL.replace("PREFER", "cheapest") + written)
    for router in (None, routed_by(settings)):
        service = build_service(settings, router=router or routed_by(settings))
        service.router.start()
        until(lambda service=service: service.prices.price_of("maker/large"))  # type: ignore[misc]
        service.router.close()


def test_forked_child_reads_for_itself() -> None:
    """A fork takes no thread along, so that the child begins one of its own with the first question."""
    done = subprocess.run([sys.executable, "-c", FORKED], check=False, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout.strip()) == (0, "both"), done.stderr


def test_stopped_source_asks_no_more_and_can_begin_again() -> None:
    """What is stopped stays as it is; started twice it is read once at a time."""
    read: list[int] = []

    def count() -> dict[str, int]:
        read.append(1)
        return {"reads": len(read)}

    values = SourceValues("test", count, every_s=60)
    values.start()
    values.start()
    until(lambda: values.get("reads"))
    assert len(read) == 1
    values.stop()
    assert values.get("reads") == 1
    values.start()
    until(lambda: values.get("reads") == 2)
    values.stop()


COST: Final = "{type: cost, provider: models.dev}"
LATENCY: Final = "{type: latency, provider: prometheus, url: 'http://p:9090', query: q}"


@pytest.mark.parametrize(
    ("sources", "where", "what"),
    [
        (f"[{COST}, {COST}]", "[1]", "one source of cost already"),
        (f"[{LATENCY}, {COST}, {LATENCY}]", "[2]", "one source of latency already"),
        ("[{type: cost, provider: prometheus}]", "[0].provider", "models.dev or digitalocean"),
        ("[{type: latency, provider: prometheus, query: q}]", "[0].url", "is required"),
        ("[{type: latency, provider: prometheus, url: 'http://p'}]", "[0].query", "is required"),
        ("[{type: cost, provider: models.dev, query: q}]", "[0].query", "only where type is latency"),
        ("[{type: speed, provider: models.dev}]", "[0].type", "cost"),
        ("[{type: cost, provider: models.dev, refresh_interval: 0}]", "[0].refresh_interval", ""),
        ("[{type: cost, provider: models.dev, url: 'ftp://x'}]", "[0].url", "expected a URL"),
    ],
    ids=["two-costs", "two-latencies", "wrong-provider", "no-url", "no-query", "query", "type", "interval", "url"],
)
def test_fault_of_a_source_names_it(sources: str, where: str, what: str, settings_of: SettingsOf) -> None:
    """What is wrong with a source is told where it stands, before anything is asked."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(
            POOL.replace("PREFER", "none").replace("model_metrics_sources:\n", "") + f"model_metrics_sources: {sources}"
        )

    assert any(f.where == f"model_metrics_sources{where}" and what in f.what for f in raised.value.faults)


@pytest.mark.parametrize(
    ("prefer", "sources", "warned"),
    [("fastest", f"[{LATENCY}]", 0), ("fastest", "[]", 1), ("cheapest", f"[{COST}]", 0)],
    ids=["latency", "no-latency", "cost"],
)
def test_order_that_a_source_gives_is_no_warning(
    prefer: str, sources: str, warned: int, settings_of: SettingsOf
) -> None:
    """Only an order by what nobody will know is warned of."""
    text = POOL.replace("PREFER", prefer).replace("model_metrics_sources:\n", "")

    warnings: Any = settings_of(text + f"model_metrics_sources: {sources}").warnings

    assert sum("selection_policy" in warning for warning in warnings) == warned
