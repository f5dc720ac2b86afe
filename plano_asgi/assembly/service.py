"""`Service`: everything that settings have been turned into, and that lives as long as they are in force."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio.to_thread

from plano_asgi.assembly.building import build_router
from plano_asgi.assembly.model_metrics import build_model_metrics
from plano_asgi.assembly.observing import Observation, build_observation
from plano_asgi.assembly.shared_store import build_redis
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.intake.governing import RewriteGovernor
from plano_asgi.observe import CallObserver
from plano_asgi.prices import PriceList
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.tokens import TokenCounter

if TYPE_CHECKING:
    from plano_asgi.gateway import Gateway
    from plano_asgi.gateway.conversations import Conversations
    from plano_asgi.govern import Governor
    from plano_asgi.guard import Guard
    from plano_asgi.stores.postgres_server import PostgresServer
    from plano_asgi.stores.redis_server import RedisServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The live objects of one configuration.

    Attributes:
        settings: What they were made of.
        router: What decides.
        gateway: What serves calls under `mode: forward`; None in the other modes.
        redis: What worker processes share what they know by; None where they share nothing.
        prices: What models cost.
        tokens: What counts how much they have to read.
        governor: What holds callers to limits, budgets and allow-lists; None where there are none.
        postgres: Where what is kept outlives them; None where nothing does.
        observation: What watches its calls.
        guard: What may pass; None where everything may.
    """

    settings: Settings
    router: Router
    gateway: "Gateway | None" = None
    redis: "RedisServer | None" = None
    postgres: "PostgresServer | None" = None
    prices: PriceList
    tokens: TokenCounter = field(default_factory=TokenCounter)
    observation: Observation = field(default_factory=Observation)
    governor: "Governor | None" = None
    guard: "Guard | None" = None

    @property
    def rewrite_governor(self) -> RewriteGovernor | None:
        """What an app's callers are held to; None where that is nothing."""
        if self.governor is None:
            return None
        return RewriteGovernor(self.governor, self.router.catalog, is_telling=self.settings.response_headers)

    async def aclose(self) -> None:
        """Stop deciding and close this event loop's connections; a later `router.start` opens it all again."""
        self.router.close()
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close this event loop's connections; the next call opens new ones."""
        if self.gateway:
            await self.gateway.aclose()
        await anyio.to_thread.run_sync(self.observation.close)
        if self.redis:
            await self.redis.aclose()
        if self.postgres:
            self.postgres.close()
        if self.guard:
            await self.guard.aclose()


def build_service(
    settings: Settings, *, router: Router | None = None, in_host: bool = True, before: Service | None = None
) -> Service:
    """Return the live objects of settings; nothing is loaded or connected yet.

    Args:
        settings: What to build.
        router: Stands in for the one that the settings describe; it is watched from now on.
        in_host: Whether the process is somebody else's app, in which nothing is shown or sent that is not asked for.
        before: What is in force until now; what it has in memory goes on where it still means the same.

    Raises:
        ConfigurationError: The settings ask of a part what it cannot do.
        ArtifactError: A model file is missing.
        MissingExtraError: They ask for an extra that is not installed.
    """
    redis, postgres, metrics = build_redis(settings), _postgres(settings), build_model_metrics(settings)
    router = router or build_router(settings, redis=redis, metrics=metrics)
    prices = router.selecting.prices if router.selecting else metrics.prices
    observation = build_observation(
        settings,
        classifier=router.classifier.kind,
        in_host=in_host,
        redis=redis,
        prices=prices,
        before=before.observation if before else None,
    )
    router.observer = observation.observer
    tokens = router.selecting.tokens if router.selecting else TokenCounter()
    governor, guard = _governor(settings, prices, tokens, redis, before), _guard(settings)
    conversations = _conversations(settings, redis, postgres, before)
    gateway = _gateway(settings, router, observer=observation.observer, conversations=conversations)
    return Service(
        settings=settings,
        router=router,
        gateway=replace(gateway, governor=governor, prices=prices, tokens=tokens, guard=guard) if gateway else None,
        redis=redis,
        postgres=postgres,
        prices=prices,
        tokens=tokens,
        governor=governor,
        guard=guard,
        observation=observation,
    )


def _guard(settings: Settings) -> "Guard | None":
    if not (settings.guardrails.calls or settings.guardrails.answers or settings.guardrails.routes):
        return None
    from plano_asgi.assembly.guarding import build_guard  # noqa: PLC0415 - only where the settings ask for it

    return build_guard(settings)


def _governor(
    settings: Settings,
    prices: PriceList,
    tokens: TokenCounter,
    redis: "RedisServer | None",
    before: Service | None,
) -> "Governor | None":
    if not (settings.ratelimits or settings.budgets or settings.allow_lists):
        return None
    from plano_asgi.assembly.governing import build_governor  # noqa: PLC0415 - only where the settings ask for it

    governor = build_governor(settings, prices=prices, redis=redis, tokens=tokens)
    if governor and before and before.governor and _counts_alike(settings, before.settings):
        return replace(governor, counters=before.governor.counters, pseudonyms=before.governor.pseudonyms)
    return governor


def _counts_alike(settings: Settings, before: Settings) -> bool:
    """Return whether what was counted in memory means the same under both: quotas are known by their order."""
    is_own = settings.governance.store == "memory" or settings.redis.url is None
    of_both = [(each.mode, each.ratelimits, each.budgets, each.governance) for each in (settings, before)]
    return is_own and of_both[0] == of_both[1]


def _postgres(settings: Settings) -> "PostgresServer | None":
    if settings.postgres.url is None:
        return None
    from plano_asgi.stores.postgres_server import PostgresServer  # noqa: PLC0415 - only where the settings ask for it

    try:
        return PostgresServer(settings.postgres.url, timeout_s=settings.postgres.timeout_ms / 1000)
    except ValueError:
        what = "is no URL of a PostgreSQL server; write postgresql://user:password@host:5432/database"
        raise ConfigurationError([Fault(where="postgres.url", what=what)]) from None


def _conversations(
    settings: Settings, redis: "RedisServer | None", postgres: "PostgresServer | None", before: Service | None
) -> "Conversations | None":
    if settings.mode != "forward":
        return None
    from plano_asgi.assembly.conversations import build_conversations  # noqa: PLC0415 - only where it is asked for

    kept = before.gateway.conversations if before and before.gateway else None
    return build_conversations(settings, redis=redis, postgres=postgres, before=kept)


def _gateway(
    settings: Settings, router: Router, *, observer: CallObserver, conversations: "Conversations | None"
) -> "Gateway | None":
    if settings.mode != "forward":
        return None
    from plano_asgi.assembly.forwarding import build_forwarder  # noqa: PLC0415 - only where the settings ask for it
    from plano_asgi.gateway import Gateway  # noqa: PLC0415 - same: it brings an HTTP client along

    return Gateway(
        router=router,
        forwarder=build_forwarder(settings),
        to_default=settings.failover.to_default,
        is_strict=settings.translation.strict,
        cached_from_tokens=settings.prompt_caching.min_prefix_tokens if settings.prompt_caching.inject else None,
        conversations=conversations,
        observer=observer,
    )
