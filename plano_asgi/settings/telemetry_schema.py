"""The settings of what makes calls visible: spans, metrics and the decision log."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.fields import BaseUrl, File, Flag, PathEnd, Seconds, SecretText
from plano_asgi.settings.section import Section


class TelemetrySettings(Section):
    """Spans and metrics.

    Attributes:
        opentelemetry: Whether spans and metrics are made by OpenTelemetry's API, where that is installed.
        otlp: Where `plano-asgi serve` sends them: an OTLP/HTTP receiver without `/v1/traces`.
        capture_content: Whether spans hold what callers and models say.
        prometheus: Whether metrics are served for Prometheus; None: by `plano-asgi serve`, if the extra is installed.
        metrics_path: Where they are served.
    """

    opentelemetry: Flag = True
    otlp: BaseUrl | None = None
    capture_content: Flag = False
    prometheus: Flag | None = None
    metrics_path: PathEnd = "/metrics"


class DecisionLogSettings(Section):
    """Which decisions are kept for people to look at.

    Attributes:
        store: Where; None: in memory by `plano-asgi serve`, nowhere in an app.
        size: Most entries.
        ttl_s: Seconds for which each is kept.
        path: The file of `sqlite`.
        content: Whether an entry holds a keyed hash of the conversation, or the conversation too.
        hash_key: The key of that hash; None: a new one in every process.
    """

    store: Literal["none", "memory", "sqlite", "redis"] | None = None
    size: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = 1_000
    ttl_s: Seconds = 604_800.0
    path: File | None = None
    content: Literal["hash", "conversation"] = "hash"
    hash_key: SecretText | None = None
