"""What an adapter for a framework without a lifespan holds: settings, calls, and a router that starts by itself."""

from dataclasses import dataclass

from plano_asgi.assembly.service import Service, build_service
from plano_asgi.assembly.starting import FirstCall
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.intake import InboundCalls
from plano_asgi.router import Router
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """The live objects that one app of a framework routes by.

    Attributes:
        service: What the settings have been turned into.
        calls: What is a call, and what becomes of it.
        first_call: What loads the model.
    """

    service: Service
    calls: InboundCalls
    first_call: FirstCall

    @property
    def settings(self) -> Settings:
        """What it was made of."""
        return self.service.settings

    @property
    def router(self) -> Router:
        """What decides."""
        return self.service.router

    def report(self) -> str:
        """Start the router, and return what the configuration comes to in one line, with the time of one decision.

        Raises:
            ArtifactError: A model file is missing or not the published one.
            ClassificationError: The classifier cannot answer.
        """
        took_ms = self.router.start()
        default = self.settings.catalog.default_model or "the model that the client names"
        routes = len(self.settings.policy.preferences)
        kind = self.settings.classifier.kind
        return (
            f"{routes} routes, default {default}, mode {self.settings.mode}; {kind}: one decision in {took_ms:.1f} ms"
        )


def ensure_ungoverned(settings: Settings, *, instead: str) -> None:
    """Guarantee that settings hold callers to nothing, where nobody could be held to it.

    Args:
        settings: What is in force.
        instead: What to do to have it held, as the message says it.

    Raises:
        ConfigurationError: They ask for limits, budgets or allow-lists.
    """
    if settings.ratelimits or settings.budgets or settings.allow_lists:
        what = f"limits, budgets and allow-lists are held over ASGI; {instead}, or remove them here"
        raise ConfigurationError([Fault(where="ratelimits, budgets, allow_lists", what=what)])


def build_adapted(
    settings: Settings, *, asgi_app: str, body_bytes: int | None = None, router: Router | None = None
) -> Adapted | None:
    """Return what an adapter routes by, with nothing loaded or connected yet; None where `enabled` is false.

    Args:
        settings: What to build.
        asgi_app: How an app of the framework becomes one of ASGI, for the message that says what serves calls.
        body_bytes: Most bytes of a body that the framework takes; None where that is for the settings alone to say.
        router: Stands in for the one that the settings describe.

    Raises:
        ConfigurationError: They cannot be used here: `mode: forward` above all, which needs an event loop of its own.
        ArtifactError: A model file is missing.
        MissingExtraError: They ask for an extra that is not installed.
    """
    if not settings.enabled:  # nothing is built: it may have been switched off since something cannot be
        return None
    if settings.mode == "forward":
        what = f"forward serves calls over ASGI; put plano_asgi.PlanoMiddleware around {asgi_app}, or use rewrite here"
        raise ConfigurationError([Fault(where="mode", what=what)])
    limit = settings.limits.body_bytes
    ensure_ungoverned(settings, instead=f"put plano_asgi.PlanoMiddleware around {asgi_app}")
    service = build_service(settings, router=router)
    service.observation.close_at_exit()
    return Adapted(
        service=service,
        calls=InboundCalls(
            settings=settings,
            router=service.router,
            body_bytes=limit if body_bytes is None else min(body_bytes, limit),
            guard=service.guard,
        ),
        first_call=FirstCall(service.router, settings),
    )
