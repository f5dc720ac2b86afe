"""Which models can serve a call as it is: those whose provider speaks the call's own API."""

from dataclasses import replace

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.policy.deciding import Rules
from plano_asgi.providers import ModelCatalog, convention_of


def speaks(model: str, api_format: ApiFormat, catalog: ModelCatalog) -> bool:
    """Return whether a qualified model's provider speaks an API natively."""
    provider = catalog.provider_of(model)
    return api_format in (provider.api_formats if provider else convention_of(model).api_formats)


def fit_format(decision: RoutingDecision, call: LLMCall, *, rules: Rules, catalog: ModelCatalog) -> RoutingDecision:
    """Return the decision with only those models that speak the call's API.

    A route left with none falls to the default model, and that, where it does not speak it either, to the model that
    the client named; the reason is then `format`. A model that the client named and nobody declares is left alone.
    """
    if decision.would_use is None or decision.is_clients_choice:
        return decision
    models = tuple(model for model in decision.models if speaks(model, call.api_format, catalog))
    if models:
        is_as_it_was = (models, models[0]) == (decision.models, decision.would_use)
        return decision if is_as_it_was else replace(decision, models=models, would_use=models[0])
    is_clients = catalog.provider_of(decision.would_use) is None
    if not decision.models and (is_clients or speaks(decision.would_use, call.api_format, catalog)):
        return decision
    default = rules.default_model
    clients = call.model and catalog.qualified(call.model)
    would_use = default if default and speaks(default, call.api_format, catalog) else clients
    reason = Reason.ERROR if decision.reason is Reason.ERROR else Reason.FORMAT
    return replace(decision, route=None, models=(), would_use=would_use, reason=reason)
