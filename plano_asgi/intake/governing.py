"""Limits and allow-lists where an app serves the calls: what its callers are held to, and what they are told."""

from dataclasses import dataclass

from plano_asgi.decisions import RoutingDecision
from plano_asgi.govern import Caller, Governor, check_named, fit_allow_list, quota_headers
from plano_asgi.intake.rewriting import RawHeaders
from plano_asgi.intake.routing_requests import RoutingRequest
from plano_asgi.providers import ModelCatalog


@dataclass(frozen=True, slots=True)
class RewriteGovernor:
    """Holds an app's calls to allow-lists, and to limits on requests and input; what answers take is not seen.

    Attributes:
        governor: What callers may use, and how much of it.
        catalog: The declared models.
        is_telling: Whether answers name limits.
    """

    governor: Governor
    catalog: ModelCatalog
    is_telling: bool

    async def govern(
        self, caller: Caller, request: RoutingRequest, decision: RoutingDecision, *, keeps_model: bool
    ) -> tuple[RoutingDecision, RawHeaders]:
        """Return the decision, within what the caller may use, and what its answer is to be told of limits.

        Args:
            caller: Who makes the call.
            request: The call.
            decision: What was decided.
            keeps_model: Whether the app reads the model that the client has named, whatever was decided.

        Raises:
            CallError: The caller may not use the model, or has used up a limit.
        """
        allowed, model = self.governor.allowed(caller), request.call.model
        if keeps_model:
            check_named(model, allowed, catalog=self.catalog)
        else:
            decision = fit_allow_list(decision, allowed, catalog=self.catalog)
            model = decision.would_use
        admission = await self.governor.admission(caller, request.document, route=decision.route)
        refusal = await admission.admit(self.catalog.qualified(model or ""), is_final=True)
        told = quota_headers(admission.counted, request.call.api_format) if self.is_telling else []
        if refusal:
            refusal.headers = tuple(told)
            raise refusal
        return decision, [(name.encode(), value.encode()) for name, value in told]
