"""A question to a Prometheus server, and what its answer says of models."""

from typing import Final
from urllib.parse import quote

import orjson

from plano_asgi.errors import NetworkError

LABEL: Final = "model_name"


def query_url(server: str, query: str) -> str:
    """Return the URL of an instant query (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
    return f"{server.rstrip('/')}/api/v1/query?query={quote(query, safe='')}"


def latencies(body: bytes) -> dict[str, float]:
    """Return the value of each series of an instant vector, by its label `model_name`; series without it are no models.

    Raises:
        NetworkError: The body is not an instant vector.
    """
    try:
        told = orjson.loads(body)
        series = told["data"]["result"] if told["status"] == "success" else None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise NetworkError("the answer is not that of an instant query") from error
    if not isinstance(series, list):
        raise NetworkError("the answer is not an instant vector; the query has to give one value for each model")
    values = (_value(one) for one in series)
    return dict(value for value in values if value)


def _value(series: object) -> tuple[str, float] | None:
    try:
        name, value = series["metric"][LABEL], float(series["value"][1])  # type: ignore[index]  # anything may come
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return (name, value) if isinstance(name, str) else None
