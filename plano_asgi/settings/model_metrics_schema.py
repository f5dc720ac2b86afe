"""The settings of where prices and latencies of models are read; the form is Plano's."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.fields import BaseUrl, Model, Seconds, Text
from plano_asgi.settings.section import Section

Query = Annotated[str, Strict(), Field(pattern=r"\S", max_length=8_192)]


class MetricsSourceSettings(Section):
    """One source.

    Attributes:
        type: Whether it tells what models cost, or how long they take.
        provider: Whose form it has: `models.dev` or `digitalocean` for cost, `prometheus` for latency.
        url: Where it is; None for the provider's own.
        query: Of Prometheus: what gives one value for each `model_name`, the least of which is best.
        refresh_interval: Seconds from one reading to the next; None for an hour for cost, a minute for latency.
        model_aliases: Of cost: the model that each of some names of the catalogue stands for.
    """

    type: Literal["cost", "latency"]
    provider: Literal["models.dev", "digitalocean", "prometheus"]
    url: BaseUrl | None = None
    query: Query | None = None
    refresh_interval: Seconds | None = None
    model_aliases: Mapping[Text, Model] = {}
