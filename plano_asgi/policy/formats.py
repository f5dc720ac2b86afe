"""Which models can serve a call as it is: those whose provider speaks the call's own API."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.policy.deciding import Rules
from plano_asgi.providers import ModelCatalog

_CHAT_ONLY: Final = frozenset({ApiFormat.CHAT_COMPLETIONS})
_NATIVE: Final[Mapping[str, frozenset[ApiFormat]]] = {
    "anthropic": frozenset({ApiFormat.MESSAGES}),
    "openai": frozenset({ApiFormat.CHAT_COMPLETIONS, ApiFormat.RESPONSES}),
    "xai": frozenset({ApiFormat.CHAT_COMPLETIONS, ApiFormat.RESPONSES}),
    "vercel": frozenset(ApiFormat),
}  # every other provider speaks Chat Completions


def speaks(model: str, api_format: ApiFormat, catalog: ModelCatalog) -> bool:
    """Return whether a qualified model's provider speaks an API natively."""
    provider = catalog.provider_of(model)
    interface = (provider.interface if provider else None) or model.partition("/")[0]
    return api_format in _NATIVE.get(interface, _CHAT_ONLY)


def fit_format(decision: RoutingDecision, call: LLMCall, *, rules: Rules, catalog: ModelCatalog) -> RoutingDecision:
    """Return the decision with only those models that speak the call's API.

    A route left with none falls to the default model, and that, where it does not speak it either, to the model that
    the client named; the reason is then `format`. A model that the client named and nobody declares is left alone.
    """
    if decision.would_use is None or decision.reason in {Reason.BYPASSED, Reason.NOT_APPLICABLE}:
        return decision
    models = tuple(model for model in decision.models if speaks(model, call.api_format, catalog))
    if models:
        return replace(decision, models=models, would_use=models[0])
    is_clients = catalog.provider_of(decision.would_use) is None
    if not decision.models and (is_clients or speaks(decision.would_use, call.api_format, catalog)):
        return decision
    default = rules.default_model
    would_use = default if default and speaks(default, call.api_format, catalog) else call.model
    reason = Reason.ERROR if decision.reason is Reason.ERROR else Reason.FORMAT
    return replace(decision, route=None, models=(), would_use=would_use, reason=reason)
