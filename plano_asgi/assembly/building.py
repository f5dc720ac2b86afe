"""Settings to live objects."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from plano_asgi.assembly.calibrations import calibration_of
from plano_asgi.assembly.experimenting import build_experiments
from plano_asgi.assembly.model_metrics import ModelMetrics, build_model_metrics
from plano_asgi.assembly.observing import build_observation
from plano_asgi.assembly.sessions import build_sessions
from plano_asgi.assembly.shared_store import build_redis
from plano_asgi.assembly.tokens import build_token_counter
from plano_asgi.classify import Classifier
from plano_asgi.decisions import Scores
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.policy import Rules
from plano_asgi.router import Experiment, ModelSpeeds, OnError, Router, Selecting
from plano_asgi.settings import Settings, load_settings
from plano_asgi.stores import MemoryStore

if TYPE_CHECKING:
    from plano_asgi.stores.redis_server import RedisServer


def load_router(path: str | Path | None = None) -> Router:
    """Return a started router for a configuration file, or for the environment alone.

    Args:
        path: The file; without it `PLANO_CONFIG_FILE`, or `plano.yaml` in the working directory if there is one.

    Raises:
        ConfigurationError: The configuration cannot be used; every fault is named.
        MissingExtraError: It asks for an extra that is not installed.
        ArtifactError: A model file is missing or not the published one.
    """
    router = build_observed_router(load_settings(Path(path) if path is not None else None))
    router.start()
    return router


def build_observed_router(settings: Settings) -> Router:
    """Return a router that is not started yet, and of which decisions are observed until the process ends.

    Raises:
        ConfigurationError: The settings ask of a part what it cannot do.
        ArtifactError: A model file is missing.
        MissingExtraError: They ask for an extra that is not installed.
    """
    redis = build_redis(settings)
    router = build_router(settings, redis=redis)
    observation = build_observation(settings, classifier=router.classifier.kind, in_host=True, redis=redis)
    observation.close_at_exit()
    router.observer = observation.observer
    return router


def build_router(
    settings: Settings,
    *,
    classifier: Classifier | None = None,
    redis: "RedisServer | None" = None,
    metrics: ModelMetrics | None = None,
) -> Router:
    """Return a router that is not started yet.

    Args:
        settings: What to build.
        classifier: Stands in for the one that the settings name.
        redis: The server of `redis.url`, where there is one already.
        metrics: What is known of models, where that is there already.

    Raises:
        ConfigurationError: The settings ask of the classifier what it cannot do, or name a calibration that is not its.
        ArtifactError: A model file is missing.
        MissingExtraError: They ask for an extra that is not installed.
    """
    classifier = classifier or build_classifier(settings)
    cache: MemoryStore[bytes, Scores] = MemoryStore(size=settings.cache.size, ttl_s=settings.cache.ttl_s)
    return Router(
        classifier=classifier,
        policy=settings.policy,
        catalog=settings.catalog,
        rules=build_rules(settings, classifier),
        cache=cache,
        on_error=OnError(settings.routing.on_error),
        allow_inline=settings.routing.inline == "allow",
        is_enabled=settings.enabled,
        deadline_ms=settings.classifier.deadline_ms or classifier.deadline_ms,
        workers=_workers(settings, classifier),
        queue=settings.classifier.queue,
        sessions=build_sessions(settings, redis),
        selecting=_selecting(settings, metrics or build_model_metrics(settings)),
        experiments=_experiments(settings, classifier),
    )


def check_deciding(settings: Settings) -> None:
    """Make sure that settings can decide calls, their experiments too; nothing is loaded.

    Raises:
        ConfigurationError: They ask of a classifier what it cannot do, or name a calibration that is not its.
        ArtifactError: A model file is missing.
        MissingExtraError: They ask for an extra that is not installed.
    """
    classifier = build_classifier(settings)
    build_rules(settings, classifier)
    _experiments(settings, classifier)


def _experiments(settings: Settings, classifier: Classifier) -> tuple[Experiment, ...]:
    return build_experiments(
        settings, classifier, classifier_of=build_classifier, rules_of=build_rules, workers_of=_workers
    )


def _selecting(settings: Settings, metrics: ModelMetrics) -> Selecting:
    sources = tuple(source for source in (metrics.cost, metrics.latency) if source)
    latency_of = metrics.latency.get if metrics.latency else None
    speeds = ModelSpeeds(settings.catalog)
    return Selecting(
        prices=metrics.prices,
        speeds=speeds,
        latency_of=latency_of,
        sources=sources,
        tokens=build_token_counter(settings),
    )


def build_rules(settings: Settings, classifier: Classifier) -> Rules:
    """Return how decisions are made: by `routing.threshold`, else the calibration's thresholds, else the classifier's.

    Raises:
        ConfigurationError: The settings name a calibration that cannot be used with the classifier.
    """
    routing, calibration = settings.routing, calibration_of(settings, classifier)
    rules = Rules(
        threshold=classifier.threshold if routing.threshold is None else routing.threshold,
        default_model=settings.catalog.default_model,
        unmatched=routing.unmatched,
        applies_to=tuple(routing.applies_to),
    )
    if calibration is None:
        return rules
    rules = replace(rules, temperature=calibration.temperature)
    if routing.threshold is not None:
        return rules
    return replace(rules, threshold=calibration.threshold, thresholds=calibration.thresholds)


def build_classifier(settings: Settings) -> Classifier:
    """Return the classifier that the settings name; raises as `build_router` does."""
    return _CLASSIFIERS[settings.classifier.kind](settings)


def _embedded(settings: Settings) -> Classifier:
    from plano_asgi.classify.embedded import EmbeddedClassifier  # noqa: PLC0415 - only where the settings ask for it

    if settings.classifier.device.startswith("cuda"):
        raise ConfigurationError(
            [Fault(where="classifier.device", what="the embedded router runs on the CPU; use auto or cpu")]
        )
    path = settings.classifier.model_path
    return EmbeddedClassifier(path) if path else EmbeddedClassifier()


def _remote(settings: Settings) -> Classifier:
    from plano_asgi.classify.prompts import PromptForm  # noqa: PLC0415 - only where the settings ask for it
    from plano_asgi.classify.remote import DEFAULT_MODEL, RemoteClassifier  # noqa: PLC0415

    wanted = settings.classifier
    if wanted.base_url is None:
        raise ConfigurationError(
            [Fault(where="classifier.base_url", what="is required where the classifier is remote")]
        )
    return RemoteClassifier(
        wanted.base_url,
        model=wanted.model or DEFAULT_MODEL,
        form=PromptForm(wanted.prompt_form),
        access_key=wanted.access_key,
        timeout_ms=wanted.deadline_ms or RemoteClassifier.deadline_ms,
        connections=wanted.threads or RemoteClassifier.parallelism,
    )


def _arch_router(settings: Settings) -> Classifier:
    from plano_asgi.classify.arch_router import ArchRouterClassifier, Decode, Scoring  # noqa: PLC0415 - same
    from plano_asgi.classify.prompts import PromptForm  # noqa: PLC0415

    wanted = settings.classifier
    if wanted.model_path is None:
        what = "is required where the classifier is arch_router: the folder that plano-asgi export wrote"
        raise ConfigurationError([Fault(where="classifier.model_path", what=what)])
    return ArchRouterClassifier(
        wanted.model_path,
        device=wanted.device,
        threads=wanted.threads,
        form=PromptForm(wanted.prompt_form),
        decode=Decode(wanted.decode),
        scoring=Scoring(wanted.score),
        prefix_bytes=wanted.prefix_bytes,
        shares_weights=wanted.shared_weights,
    )


def _cascade(settings: Settings) -> Classifier:
    from plano_asgi.classify.cascade import CascadeClassifier  # noqa: PLC0415 - only where the settings ask for it
    from plano_asgi.classify.embedded import EmbeddedClassifier  # noqa: PLC0415 - same

    wanted = settings.classifier
    return CascadeClassifier(
        EmbeddedClassifier(),
        _remote(settings) if wanted.base_url else _arch_router(settings),
        low=wanted.cascade.low,
        high=wanted.cascade.high,
        deadline_ms=wanted.deadline_ms,
        keeps_thresholds=settings.routing.threshold is None and wanted.calibration is None,
    )


def _workers(settings: Settings, classifier: Classifier) -> int:
    """Return how many classifications run side by side; `threads` may be those inside one run of `arch_router`."""
    if settings.classifier.kind in {"arch_router", "cascade"}:
        return classifier.parallelism
    return settings.classifier.threads or classifier.parallelism


_CLASSIFIERS: Final[Mapping[str, Callable[[Settings], Classifier]]] = MappingProxyType(
    {"embedded": _embedded, "arch_router": _arch_router, "remote": _remote, "cascade": _cascade}
)
