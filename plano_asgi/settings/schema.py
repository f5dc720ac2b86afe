"""Every setting with its default: what `plano.yaml` and the `PLANO_*` variables may say."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Final, Literal

from pydantic import Field, Strict
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from plano_asgi.policy import Unmatched
from plano_asgi.sessions import DecideOn
from plano_asgi.settings.classifier_schema import ClassifierSettings
from plano_asgi.settings.experiments_schema import ExperimentSettings
from plano_asgi.settings.fields import (
    Alias,
    Flag,
    Model,
    PathEnd,
    Percentage,
    Seconds,
    SecretText,
    Share,
    Text,
)
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
from plano_asgi.settings.prices_schema import PriceSettings
from plano_asgi.settings.prompt_caching_schema import PromptCachingSettings
from plano_asgi.settings.providers_schema import AliasSettings, Provider
from plano_asgi.settings.redis_schema import RedisSettings
from plano_asgi.settings.reload_schema import ReloadSettings
from plano_asgi.settings.responses_state_schema import PostgresSettings, ResponsesStateSettings
from plano_asgi.settings.section import Section
from plano_asgi.settings.sessions_schema import SessionSettings
from plano_asgi.settings.telemetry_schema import DecisionLogSettings, TelemetrySettings
from plano_asgi.settings.tokens_schema import TokensSettings

ENV_PREFIX: Final = "PLANO_"
DEFAULT_PATHS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")

Mode = Literal["observe", "rewrite", "forward"]
Startup = Literal["wait", "background"]

_merged: ContextVar[Mapping[str, object]] = ContextVar("merged")


class RoutingSettings(Section):
    """What is done with a classifier's answer.

    Attributes:
        threshold: Least confidence in [0, 1]; None for the model's own.
        on_error: Whether a classifier's failure means the default model or a refusal.
        unmatched: Whether an unmatched call gets the default model or the one it asked for.
        applies_to: Patterns of models that a client may name and still be routed.
        inline: Whether a request may bring its own policy.
        bypass_header: Whether `x-plano-routing: off` is honoured.
        sample: Share in [0, 1] of the calls that are rewritten; the rest are observed.
        model_form: How a model is written into a call in rewrite mode.
        cross_format: Whether rewrite mode may choose a model whose native API is not the call's.
        switch_budget_pct: Most that switches of a session may cost, in percent of what never to switch would have cost;
            None for no bound.
        decide_on: Which calls of a conversation are decided; the others stay with the model they have.
    """

    threshold: Share | None = None
    on_error: Literal["default", "reject"] = "default"
    unmatched: Unmatched = Unmatched.DEFAULT
    applies_to: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)
    inline: Literal["allow", "deny"] = "allow"
    bypass_header: Flag = True
    sample: Share = 1.0
    model_form: Literal["bare", "qualified"] = "bare"
    cross_format: Flag = False
    decide_on: DecideOn = DecideOn.USER_TURN
    switch_budget_pct: Percentage | None = None


class CacheSettings(Section):
    """How many decisions are remembered, and for how long; a size of 0 switches the cache off."""

    size: Annotated[int, Strict(), Field(ge=0, le=10_000_000)] = 10_000
    ttl_s: Seconds = 300.0


class LimitsSettings(Section):
    """How much of a request is read: bytes of its body, and seconds to wait for them."""

    body_bytes: Annotated[int, Strict(), Field(ge=1, le=1_073_741_824)] = 10_485_760
    body_timeout_s: Seconds = 30.0


class AdminSettings(Section):
    """Who may see the decision log, reload, playground and metrics beyond loopback: who holds the token."""

    token: SecretText | None = None


class _MergedSource(PydanticBaseSettingsSource):
    """The merged tree of file, environment and code, as the one source of `PlanoSettings`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return the value of one top-level setting."""
        del field
        return _merged.get({}).get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        """Return the whole tree, unknown keys included, so that they are refused."""
        return dict(_merged.get({}))


class PlanoSettings(Section, BaseSettings):
    """All settings as written, validated; `load_settings` reads the sources and makes one.

    Attributes:
        enabled: False: everything passes untouched.
        mode: Whether calls are observed, rewritten or forwarded.
        startup: Whether start-up waits until the model is warm.
        strict: Whether the middleware answers what it cannot read.
        classifier: See there.
        routing: See there.
        cache: See there.
        limits: See there.
        forward: See there.
        failover: See there.
        translation: See there.
        guardrails: What may pass.
        filters: Filters that are not ours, for guardrails to name.
        prices: What models cost, by qualified model.
        model_metrics_sources: Where more of that is read, and how fast models are.
        ratelimits: How much may be used in so much time.
        budgets: How much may be spent in a period.
        allow_lists: What callers may use.
        governance: How the former are counted.
        tokens: How tokens are counted.
        sessions: See there.
        prompt_caching: See there.
        responses_state: See there.
        redis: See there.
        postgres: See there.
        telemetry: See there.
        decision_log: See there.
        admin: See there.
        playground: See there.
        reload: See there.
        paths: Ends of the URL paths that are calls.
        response_headers: Whether answers name model and route.
        endpoints: Whether the decision endpoints are served.
        model_providers: Where models are served.
        model_aliases: Other names that models go by.
        routing_preferences: Preferences with several models.
        experiments: Shares of sessions that are decided in another way.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )

    enabled: Flag = True
    mode: Mode = "rewrite"
    startup: Startup = "wait"
    strict: Flag = False
    classifier: ClassifierSettings = ClassifierSettings()
    routing: RoutingSettings = RoutingSettings()
    cache: CacheSettings = CacheSettings()
    limits: LimitsSettings = LimitsSettings()
    forward: ForwardSettings = ForwardSettings()
    failover: FailoverSettings = FailoverSettings()
    translation: TranslationSettings = TranslationSettings()
    guardrails: GuardrailsSettings = GuardrailsSettings()
    filters: tuple[FilterSettings, ...] = ()
    prices: Mapping[Model, PriceSettings] = {}
    model_metrics_sources: tuple[MetricsSourceSettings, ...] = ()
    ratelimits: tuple[RateLimitSettings, ...] = ()
    budgets: tuple[BudgetSettings, ...] = ()
    allow_lists: tuple[AllowListSettings, ...] = ()
    governance: GovernanceSettings = GovernanceSettings()
    tokens: TokensSettings = TokensSettings()
    sessions: SessionSettings = SessionSettings()
    prompt_caching: PromptCachingSettings = PromptCachingSettings()
    responses_state: ResponsesStateSettings = ResponsesStateSettings()
    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings = PostgresSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    decision_log: DecisionLogSettings = DecisionLogSettings()
    admin: AdminSettings = AdminSettings()
    playground: PlaygroundSettings = PlaygroundSettings()
    reload: ReloadSettings = ReloadSettings()
    paths: Annotated[tuple[PathEnd, ...], Field(min_length=1)] = DEFAULT_PATHS
    response_headers: Flag = True
    endpoints: Flag = True
    model_providers: tuple[Provider, ...] = ()
    model_aliases: Mapping[Alias, AliasSettings] = {}
    routing_preferences: tuple[TopPreference, ...] = ()
    experiments: tuple[ExperimentSettings, ...] = ()

    @classmethod
    def from_tree(cls, tree: Mapping[str, object]) -> "PlanoSettings":
        """Return the settings that a merged tree describes.

        Raises:
            pydantic.ValidationError: The tree has faults.
        """
        token = _merged.set(tree)
        try:
            return cls()
        finally:
            _merged.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return keyword arguments first, then our own source; ours reads the environment, with names for faults."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _MergedSource(settings_cls)
