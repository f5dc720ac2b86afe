"""Validated settings as the frozen values the rest of the program works with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.prices import Price
from plano_asgi.providers import ModelCatalog
from plano_asgi.secret import KEY_HEADERS
from plano_asgi.settings.catalog import catalog_from
from plano_asgi.settings.classifier_schema import ClassifierSettings
from plano_asgi.settings.experiments_schema import ExperimentSettings
from plano_asgi.settings.forwarding_schema import FailoverSettings, ForwardSettings, TranslationSettings
from plano_asgi.settings.governance_schema import (
    AllowListSettings,
    BudgetSettings,
    GovernanceSettings,
    RateLimitSettings,
)
from plano_asgi.settings.guardrails_schema import FilterSettings, GuardrailsSettings
from plano_asgi.settings.model_metrics_schema import MetricsSourceSettings
from plano_asgi.settings.playground_schema import PlaygroundSettings
from plano_asgi.settings.preferences_schema import TopPreference
from plano_asgi.settings.prompt_caching_schema import PromptCachingSettings
from plano_asgi.settings.redis_schema import RedisSettings
from plano_asgi.settings.reload_schema import ReloadSettings
from plano_asgi.settings.responses_state_schema import PostgresSettings, ResponsesStateSettings
from plano_asgi.settings.schema import (
    AdminSettings,
    CacheSettings,
    LimitsSettings,
    Mode,
    PlanoSettings,
    RoutingSettings,
    Startup,
)
from plano_asgi.settings.sessions_schema import SessionSettings
from plano_asgi.settings.telemetry_schema import DecisionLogSettings, TelemetrySettings
from plano_asgi.settings.tokens_schema import TokensSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, validated and frozen.

    Attributes:
        enabled: False: everything passes untouched.
        mode: Whether calls are observed, rewritten or forwarded.
        startup: Whether start-up waits until the model is warm.
        strict: Whether the middleware answers what it cannot read.
        classifier: Which classifier reads conversations, and what it may cost.
        routing: What is done with its answer.
        cache: How many decisions are remembered, and for how long.
        limits: How much of a request is read.
        forward: How providers are called, where we call them ourselves.
        failover: What happens then when one fails.
        translation: What happens then where one speaks another API.
        guardrails: What may pass.
        filters: Filters that are not ours, for guardrails to name.
        prices: What models cost, as written, by qualified model.
        model_metrics_sources: Where more of that is read, and how fast models are.
        ratelimits: How much may be used in so much time.
        budgets: How much may be spent in a period.
        allow_lists: What callers may use.
        governance: How the former are counted.
        tokens: How tokens are counted.
        sessions: What is remembered of calls that belong together.
        prompt_caching: What is done for providers' caches.
        responses_state: What is then kept of Responses calls.
        redis: What worker processes share what they know by.
        postgres: Where what is kept outlives them.
        telemetry: Spans and metrics.
        decision_log: Which decisions are kept for people to look at.
        admin: Who may see the decision log, reload, playground and metrics.
        playground: Whether the playground is served.
        reload: When the configuration is read again.
        paths: Ends of the URL paths that are calls.
        response_headers: Whether answers name model and route.
        endpoints: Whether the decision endpoints are served.
        catalog: The declared model providers.
        policy: The configured routing policy.
        experiments: Shares of sessions that are decided in another way.
        experiment_policies: The policies of those that have one, by their names.
        warnings: What was accepted but has no effect; never holds a value.
        config_file: The YAML file that was read, or None.
    """

    enabled: bool
    mode: Mode
    startup: Startup
    strict: bool
    classifier: ClassifierSettings
    routing: RoutingSettings
    cache: CacheSettings
    limits: LimitsSettings
    forward: ForwardSettings
    failover: FailoverSettings
    translation: TranslationSettings
    guardrails: GuardrailsSettings
    filters: tuple[FilterSettings, ...]
    prices: Mapping[str, Price]
    model_metrics_sources: tuple[MetricsSourceSettings, ...]
    ratelimits: tuple[RateLimitSettings, ...]
    budgets: tuple[BudgetSettings, ...]
    allow_lists: tuple[AllowListSettings, ...]
    governance: GovernanceSettings
    tokens: TokensSettings
    sessions: SessionSettings
    prompt_caching: PromptCachingSettings
    responses_state: ResponsesStateSettings
    redis: RedisSettings
    postgres: PostgresSettings
    telemetry: TelemetrySettings
    decision_log: DecisionLogSettings
    admin: AdminSettings
    playground: PlaygroundSettings
    reload: ReloadSettings
    paths: tuple[str, ...]
    response_headers: bool
    endpoints: bool
    catalog: ModelCatalog
    policy: RoutingPolicy
    experiments: tuple[ExperimentSettings, ...]
    experiment_policies: Mapping[str, RoutingPolicy]
    warnings: tuple[str, ...] = ()
    config_file: Path | None = None

    @property
    def model_aliases(self) -> dict[str, str]:
        """Other names that models go by, each with the model that it stands for in the end."""
        return dict(self.catalog.aliases)

    @property
    def tenant_headers(self) -> tuple[str, ...]:
        """The headers that tell whose sessions are whose, in lower case: of tenants or keys, and of allow-lists."""
        tenants = (self.sessions.tenant_header,) if self.sessions.tenant_header else KEY_HEADERS
        selectors = (written.selector.key for written in self.allow_lists if written.selector)
        return tuple(dict.fromkeys(name.lower() for name in (*tenants, *selectors)))


def settings_from(
    written: PlanoSettings, *, environ: Mapping[str, str], warnings: tuple[str, ...], config_file: Path | None
) -> Settings:
    """Return validated settings with the catalog and the policy that they make up."""
    catalog = catalog_from(written.model_providers, written.model_aliases, environ)
    return Settings(
        enabled=written.enabled,
        mode=written.mode,
        startup=written.startup,
        strict=written.strict,
        classifier=written.classifier,
        routing=written.routing,
        cache=written.cache,
        limits=written.limits,
        forward=written.forward,
        failover=written.failover,
        translation=written.translation,
        guardrails=written.guardrails,
        filters=written.filters,
        prices={model: Price(**price.model_dump()) for model, price in written.prices.items()},
        model_metrics_sources=written.model_metrics_sources,
        ratelimits=written.ratelimits,
        budgets=written.budgets,
        allow_lists=written.allow_lists,
        governance=written.governance,
        tokens=written.tokens,
        sessions=written.sessions,
        prompt_caching=written.prompt_caching,
        responses_state=written.responses_state,
        redis=written.redis,
        postgres=written.postgres,
        telemetry=written.telemetry,
        decision_log=written.decision_log,
        admin=written.admin,
        playground=written.playground,
        reload=written.reload,
        paths=written.paths,
        response_headers=written.response_headers,
        endpoints=written.endpoints,
        catalog=catalog,
        policy=_policy(written, catalog),
        experiments=written.experiments,
        experiment_policies={
            experiment.name: RoutingPolicy(preferences=_preferences(experiment.routing_preferences, catalog))
            for experiment in written.experiments
            if experiment.routing_preferences
        },
        warnings=warnings,
        config_file=config_file,
    )


def _policy(settings: PlanoSettings, catalog: ModelCatalog) -> RoutingPolicy:
    """Return the one policy that both written forms make up: nested preferences first, by provider."""
    nested = [
        RoutingPreference(name=written.name, description=written.description, models=(provider.model,))
        for provider in settings.model_providers
        for written in provider.routing_preferences
    ]
    return RoutingPolicy(preferences=(*nested, *_preferences(settings.routing_preferences, catalog)))


def _preferences(written: Iterable[TopPreference], catalog: ModelCatalog) -> tuple[RoutingPreference, ...]:
    return tuple(
        RoutingPreference(
            name=preference.name,
            description=preference.description,
            models=tuple(dict.fromkeys(map(catalog.qualified, preference.models))),
            selection_policy=preference.selection_policy.prefer,
        )
        for preference in written
    )
