"""The two public catalogues of prices, read: the bytes that they are served as to prices by their own names."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import orjson

from plano_asgi.errors import NetworkError
from plano_asgi.prices import MILLION, Price

MODELS_DEV_URL: Final = "https://models.dev/api.json"
DIGITALOCEAN_URL: Final = "https://api.digitalocean.com/v2/gen-ai/models/catalog?limit=200"
MOST_MODELS: Final = 50_000


def models_dev_prices(body: bytes) -> dict[str, Price]:
    """Return the prices of a catalogue such as https://models.dev/api.json, by `provider/model`.

    The model alone is a name, too: for the price that most providers ask for it. At most 50,000 listings are read.

    Raises:
        NetworkError: It is no such catalogue, or has no price.
    """
    listed: dict[str, Price] = {}
    asked: dict[str, Counter[Price]] = {}
    for provider, name, price in islice(_models_dev(body), MOST_MODELS):
        listed[f"{provider}/{name}"] = price
        asked.setdefault(name, Counter())[price] += 1
    alone = {name: prices.most_common(1)[0][0] for name, prices in asked.items()}
    return _unless_empty({**alone, **listed})


def digitalocean_prices(body: bytes) -> dict[str, Price]:
    """Return the prices of a catalogue such as DigitalOcean's, by `model_id`; raises as `models_dev_prices` does.

    Its fields are named for a million tokens, and hold what one costs.
    """
    return _unless_empty(dict(islice(_digitalocean(body), MOST_MODELS)))


def _models_dev(body: bytes) -> Iterator[tuple[str, str, Price]]:
    for provider, told in _mapping(_document(body)).items():
        for name, model in _mapping(_mapping(told).get("models")).items():
            cost = _mapping(_mapping(model).get("cost"))
            names = ("input", "output", "cache_read", "cache_write")
            if price := _price(*(_amount(cost.get(key)) for key in names)):
                yield provider, name, price


def _digitalocean(body: bytes) -> Iterator[tuple[str, Price]]:
    models = _mapping(_document(body)).get("data")
    for model in models if isinstance(models, list) else ():
        name, pricing = _mapping(model).get("model_id"), _mapping(_mapping(model).get("pricing"))
        names = ("input_price_per_million", "output_price_per_million")
        if isinstance(name, str) and (price := _price(*(_amount(pricing.get(key), MILLION) for key in names))):
            yield name, price


def _price(
    read: float | None, written: float | None, cache_read: float | None = None, cache_write: float | None = None
) -> Price | None:
    if read is None or written is None:
        return None
    return Price(input=read, output=written, cache_read=cache_read, cache_write=cache_write)


def _amount(told: object, times: int = 1) -> float | None:
    """Return an amount of money, None for whatever is none."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told) or told < 0:
        return None
    return float(told) * times


def _document(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NetworkError("the answer is no JSON") from error


def _mapping(told: object) -> Mapping[str, object]:
    return told if isinstance(told, dict) else {}


def _unless_empty(prices: dict[str, Price]) -> dict[str, Price]:
    if not prices:
        raise NetworkError("the answer has no price of any model; is it this catalogue?")
    return prices
