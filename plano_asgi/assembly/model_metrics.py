"""Settings to what is known of models: what they cost, and how long they take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final, TypeVar

from plano_asgi.catalogues import SourcePrices, SourceValues, WrittenPrices
from plano_asgi.catalogues.price_catalogs import (
    DIGITALOCEAN_URL,
    MODELS_DEV_URL,
    digitalocean_prices,
    models_dev_prices,
)
from plano_asgi.catalogues.prometheus_query import latencies, query_url
from plano_asgi.errors import NetworkError
from plano_asgi.prices import Price, PriceList
from plano_asgi.settings import Settings
from plano_asgi.settings.model_metrics_schema import MetricsSourceSettings

MOST_BYTES: Final = 33_554_432  # of an answer; models.dev has served some 5 MB in 2026
TIMEOUT_S: Final = 30.0
COST_EVERY_S: Final = 3_600.0
LATENCY_EVERY_S: Final = 60.0
_OK: Final = 200
_CATALOGS: Final[Mapping[str, tuple[str, Callable[[bytes], Mapping[str, Price]]]]] = MappingProxyType(
    {
        "models.dev": (MODELS_DEV_URL, models_dev_prices),
        "digitalocean": (DIGITALOCEAN_URL, digitalocean_prices),
    }
)

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetrics:
    """What is known of models.

    Attributes:
        prices: What they cost.
        cost: The source that some of the prices come from; None where there is none.
        latency: Which of them take longer than others, by qualified or bare name; None where nobody else is asked.
    """

    prices: PriceList
    cost: SourceValues[Price] | None = None
    latency: SourceValues[float] | None = None


def build_model_metrics(settings: Settings) -> ModelMetrics:
    """Return what is known of models; sources are not asked before they are started.

    A price that is written down counts before that of a source, and that before the one that the extra `prices` has.
    """
    sources = {source.type: source for source in settings.model_metrics_sources}
    listed, cost = _published(), None
    if wanted := sources.get("cost"):
        cost = _cost_source(wanted)
        listed = SourcePrices(cost, aliases=wanted.model_aliases, otherwise=listed)
    return ModelMetrics(
        prices=WrittenPrices(settings.prices, otherwise=listed),
        cost=cost,
        latency=_latency_source(sources["latency"]) if "latency" in sources else None,
    )


def _published() -> PriceList | None:
    if find_spec("genai_prices") is None:
        return None
    from plano_asgi.catalogues.published_prices import PublishedPrices  # noqa: PLC0415 - only where it is installed

    return PublishedPrices()


def _cost_source(wanted: MetricsSourceSettings) -> SourceValues[Price]:
    url, parse = _CATALOGS[wanted.provider]
    every_s = wanted.refresh_interval or COST_EVERY_S
    return SourceValues(wanted.provider, _reading(wanted.url or url, parse), every_s=every_s)


def _latency_source(wanted: MetricsSourceSettings) -> SourceValues[float]:
    url = query_url(wanted.url or "", wanted.query or "")
    every_s = wanted.refresh_interval or LATENCY_EVERY_S
    return SourceValues(wanted.provider, _reading(url, latencies), every_s=every_s)


def _reading(url: str, parse: Callable[[bytes], Mapping[str, _Value]]) -> Callable[[], Mapping[str, _Value]]:
    """Return what asks a server and reads its answer, within `TIMEOUT_S` and `MOST_BYTES`; no connection stays open."""

    def read() -> Mapping[str, _Value]:
        from plano_asgi.net import HttpClient  # noqa: PLC0415 - only where the settings ask for it

        client = HttpClient(connections=1)
        try:
            answer = client.get(url, headers={}, timeout_s=TIMEOUT_S, most_bytes=MOST_BYTES)
        finally:
            client.close()
        if answer.status != _OK:
            raise NetworkError(
                f"the answer has status {answer.status}; only 200 is read, and redirects are not followed"
            )
        return parse(answer.body)

    return read
