"""Which models and routes a tenant may use. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.errors import NotAllowedError
from plano_asgi.govern.callers import Caller, Selector
from plano_asgi.govern.quotas import model_matches
from plano_asgi.providers import ModelCatalog, ModelProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """What some callers may use.

    Attributes:
        selector: The callers; None for all.
        models: Patterns of models, with or without their provider.
        routes: Patterns of routes.
    """

    selector: Selector | None = None
    models: tuple[str, ...] = ("*",)
    routes: tuple[str, ...] = ("*",)

    def has_model(self, model: str) -> bool:
        """Return whether a qualified model may be used."""
        return any(model_matches(pattern, model) for pattern in self.models)

    def has_route(self, route: str) -> bool:
        """Return whether a route may be used."""
        return any(fnmatchcase(route, pattern) for pattern in self.routes)


ALL: Final = AllowList()


def allow_list_of(caller: Caller, lists: Sequence[AllowList]) -> AllowList:
    """Return the first list that is for the caller; one that allows all where there are no lists.

    Raises:
        NotAllowedError: There are lists, and none is for this caller.
    """
    if not lists:
        return ALL
    for allowed in lists:
        if allowed.selector is None or allowed.selector.admits(caller):
            return allowed
    raise NotAllowedError("this service does not know you; send what it tells its callers by", code="caller_unknown")


def fit_allow_list(decision: RoutingDecision, allowed: AllowList, *, catalog: ModelCatalog) -> RoutingDecision:
    """Return the decision with only those models that may be used.

    A route that may not be used, or that is left with no model, falls to the default model with the reason
    `not_allowed`.

    Raises:
        NotAllowedError: No model is left, or the caller has named one itself that it may not use.
    """
    if decision.would_use is None:
        return decision
    is_free = decision.route is None or allowed.has_route(decision.route)
    models = tuple(model for model in decision.models if is_free and allowed.has_model(model))
    if models:
        return decision if models == decision.models else replace(decision, models=models, would_use=models[0])
    if not decision.models and allowed.has_model(catalog.qualified(decision.would_use)):
        return decision
    default = catalog.default_model
    if decision.models and default and allowed.has_model(default):
        return replace(decision, route=None, models=(), would_use=default, reason=Reason.NOT_ALLOWED)
    raise _refused()


def allowed_of(pool: Sequence[ModelProvider], allowed: AllowList) -> tuple[ModelProvider, ...]:
    """Return those of a pool that may be used.

    Raises:
        NotAllowedError: There is a pool, and nobody in it may be.
    """
    left = tuple(provider for provider in pool if allowed.has_model(provider.model))
    if pool and not left:
        raise _refused()
    return left


def check_named(model: str | None, allowed: AllowList, *, catalog: ModelCatalog) -> None:
    """Guarantee that a model which a caller names itself may be used, whether or not it is declared; none always may.

    Raises:
        NotAllowedError: It may not.
    """
    if model and not allowed.has_model(catalog.qualified(model)):
        raise _refused()


def _refused() -> NotAllowedError:
    return NotAllowedError(
        "you may not use the model that would serve this call; name another", code="model_not_allowed"
    )
