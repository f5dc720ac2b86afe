"""Who may serve a call, in which order: the models of its route that can, and the default where that is asked for."""

from dataclasses import replace

from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.policy.capabilities import Needs
from plano_asgi.policy.known_models import capabilities_of
from plano_asgi.providers import ModelCatalog, ModelProvider


def fit_capabilities(decision: RoutingDecision, needs: Needs, *, catalog: ModelCatalog) -> RoutingDecision:
    """Return the decision with only those models that are not known to lack what the call needs.

    A route left with none falls to the default model with the reason `capability`; where that lacks it too, nothing is
    left to use: `would_use` is None. A model that the client has chosen itself is left alone.
    """
    if decision.would_use is None or decision.is_clients_choice:
        return decision
    models = tuple(model for model in decision.models if _can(model, needs, catalog))
    if models:
        return decision if models == decision.models else replace(decision, models=models, would_use=models[0])
    if not decision.models and _can(decision.would_use, needs, catalog):
        return decision
    default = catalog.default_model
    would_use = default if default and _can(default, needs, catalog) else None
    return replace(decision, route=None, models=(), would_use=would_use, reason=Reason.CAPABILITY)


def pool_of(
    decision: RoutingDecision, needs: Needs, *, catalog: ModelCatalog, to_default: bool
) -> tuple[ModelProvider, ...]:
    """Return where a decided call may be served: the first of them first, the rest where that cannot.

    Args:
        decision: The decision, its models able to serve the call.
        needs: What the call needs.
        catalog: The declared models.
        to_default: Whether the default model is the last resort.
    """
    models = list(decision.models or ([decision.would_use] if decision.would_use else []))
    default = catalog.default_model
    if to_default and models and default and default not in models and _can(default, needs, catalog):
        models.append(default)
    providers = (catalog.provider_of(model) for model in models)
    return tuple(provider for provider in providers if provider)


def _can(model: str, needs: Needs, catalog: ModelCatalog) -> bool:
    """Return whether a model may have what a call needs; one that nobody declares is not judged."""
    provider = catalog.provider_of(model)
    return provider is None or not needs.unmet_by(capabilities_of(provider), model)
