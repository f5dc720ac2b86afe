"""Settings to who watches calls."""

import atexit
import os
import secrets
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from plano_asgi.errors import MissingExtraError
from plano_asgi.events import SETTINGS_IGNORED, get_logger, listen
from plano_asgi.observe import CallObserver
from plano_asgi.observe.decision_stores import DecisionStore, MemoryDecisions
from plano_asgi.observe.journal import DecisionJournal
from plano_asgi.observe.measures import Measures
from plano_asgi.observe.metrics import Instruments
from plano_asgi.prices import PriceList
from plano_asgi.settings import Settings

if TYPE_CHECKING:
    from plano_asgi.observe.otlp import OtlpExport
    from plano_asgi.observe.prometheus import PrometheusInstruments
    from plano_asgi.observe.tracing import Tracing
    from plano_asgi.stores.redis_server import RedisServer

ENDPOINT_VARIABLES: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What watches the calls of one service, and what shows what was seen.

    Attributes:
        observer: Who is told of calls.
        prometheus: What shows metrics to Prometheus; None where nothing does.
        export: What sends spans and metrics away; None where nothing does, or the host does.
    """

    observer: CallObserver = field(default_factory=CallObserver)
    prometheus: "PrometheusInstruments | None" = None
    export: "OtlpExport | None" = None

    def close(self) -> None:
        """Write and send what is left; blocks."""
        self.observer.close()
        if self.export:
            self.export.close()

    def close_at_exit(self) -> None:
        """Close when the process ends, as a lifespan would; where there is none."""
        if self.observer.journal or self.export:
            atexit.register(self.close)


def build_observation(  # noqa: PLR0913 - all that it is made of
    settings: Settings,
    *,
    classifier: str,
    in_host: bool,
    redis: "RedisServer | None" = None,
    prices: PriceList | None = None,
    before: Observation | None = None,
) -> Observation:
    """Return what the settings want to be seen.

    Args:
        settings: What to build.
        classifier: What decides as usual, as `classifier.kind` names it.
        in_host: Whether the process is somebody else's app, in which nothing is shown or sent that is not asked for.
        redis: What worker processes share.
        prices: What models cost.
        before: What has watched until now, whose counts and entries go on.

    Raises:
        MissingExtraError: They ask for an extra that is not installed.
    """
    export = None if in_host else _export(settings)
    prometheus = _prometheus(settings, in_host=in_host, before=before)
    tracing: Tracing | None = None
    instruments: list[Instruments] = [] if prometheus is None else [prometheus]
    if export or (settings.telemetry.opentelemetry and _has_opentelemetry()):
        tracing = _tracing(settings, classifier, export)
        instruments = [*instruments, _otel_instruments(export)]
    measures = Measures(instruments, catalog=settings.catalog, classifier=classifier) if instruments else None
    if measures:
        listen(measures)
    journal = _journal(settings, classifier=classifier, in_host=in_host, redis=redis, before=before)
    observer = CallObserver(tracing=tracing, measures=measures, journal=journal, prices=prices)
    return Observation(observer=observer, prometheus=prometheus, export=export)


def _tracing(settings: Settings, classifier: str, export: "OtlpExport | None") -> "Tracing":
    from plano_asgi.observe.tracing import Tracing  # noqa: PLC0415 - only where it is installed

    has_content = settings.telemetry.capture_content
    provider = export.tracers if export else None
    return Tracing(settings.catalog, classifier=classifier, has_content=has_content, provider=provider)


def _otel_instruments(export: "OtlpExport | None") -> Instruments:
    from plano_asgi.observe.otel_metrics import OtelInstruments, instruments_of_the_process  # noqa: PLC0415 - same

    return OtelInstruments(export.meters) if export else instruments_of_the_process()


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        return False


def _export(settings: Settings) -> "OtlpExport | None":
    wanted = settings.telemetry.otlp
    named = [name for name in ENDPOINT_VARIABLES if settings.telemetry.opentelemetry and os.environ.get(name)]
    if wanted is None and not named:
        return None
    try:
        from plano_asgi.observe.otlp import OtlpExport  # noqa: PLC0415 - an extra
    except MissingExtraError as error:
        if wanted is not None:
            raise
        get_logger().warning(SETTINGS_IGNORED, warnings=[f"{named[0]}: {error}"])  # set for all that runs there
        return None
    return OtlpExport(wanted)


def _prometheus(settings: Settings, *, in_host: bool, before: Observation | None) -> "PrometheusInstruments | None":
    wanted = settings.telemetry.prometheus
    if wanted is False or (wanted is None and in_host):
        return None
    try:
        from plano_asgi.observe.prometheus import PrometheusInstruments  # noqa: PLC0415 - an extra
    except MissingExtraError:
        if wanted:
            raise
        return None
    return (before and before.prometheus) or PrometheusInstruments()


def _journal(
    settings: Settings, *, classifier: str, in_host: bool, redis: "RedisServer | None", before: Observation | None
) -> DecisionJournal | None:
    log = settings.decision_log
    kind = log.store or ("none" if in_host else "memory")
    if kind == "none":
        return None
    key = log.hash_key.reveal().encode()[:64] if log.hash_key else secrets.token_bytes(32)
    kept = before.observer.journal if before else None
    return DecisionJournal(
        _store(settings, kind, redis, kept),
        classifier=classifier,
        hash_key=key,
        keeps_conversations=log.content == "conversation",
    )


def _store(settings: Settings, kind: str, redis: "RedisServer | None", kept: DecisionJournal | None) -> DecisionStore:
    log = settings.decision_log
    if kind == "sqlite" and log.path:
        from plano_asgi.observe.sqlite_decisions import SqliteDecisions  # noqa: PLC0415 - not every Python has it

        return SqliteDecisions(log.path, size=log.size, ttl_s=log.ttl_s)
    if kind == "redis" and redis:
        from plano_asgi.observe.redis_decisions import RedisDecisions  # noqa: PLC0415 - an extra

        return RedisDecisions(redis, prefix=settings.redis.prefix, size=log.size, ttl_s=log.ttl_s)
    fresh = MemoryDecisions(size=log.size, ttl_s=log.ttl_s)
    if kept is None or kept.keeps_conversations != (log.content == "conversation"):
        return fresh
    goes_on = isinstance(kept.store, MemoryDecisions) and kept.store.bounds == fresh.bounds
    return kept.store if goes_on else fresh
