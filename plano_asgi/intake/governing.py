"""Limits and allow-lists where an app serves the calls: what its callers are held to, and what they are told."""

from dataclasses import dataclass
from functools import partial

from plano_asgi.conversation import LLMCall
from plano_asgi.govern import Caller, Governor, check_named, fit_allow_list, quota_headers
from plano_asgi.intake.rewriting import RawHeaders
from plano_asgi.intake.routing_requests import RoutingRequest
from plano_asgi.providers import ModelCatalog
from plano_asgi.router import Fit, all_of_it


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

    def fit_for(self, caller: Caller, call: LLMCall, *, keeps_model: bool) -> Fit:
        """Return what leaves of a decision what the caller may use, for a call that it may make.

        Args:
            caller: Who makes the call.
            call: The call.
            keeps_model: Whether the app reads the model that the client has named, whatever is decided.

        Raises:
            NotAllowedError: The caller is unknown, or may not use the model that it has named.
        """
        allowed = self.governor.allowed(caller)
        if not keeps_model:
            return partial(fit_allow_list, allowed=allowed, catalog=self.catalog)
        check_named(call.model, allowed, catalog=self.catalog)
        return all_of_it

    async def count(self, caller: Caller, request: RoutingRequest, model: str | None, route: str | None) -> RawHeaders:
        """Return what the answer to a call is to be told of limits, having counted the call against them.

        Args:
            caller: Who makes the call.
            request: The call.
            model: The model that the app reads, as the client has named it or qualified; None where there is none.
            route: The route that the call was decided for, or None.

        Raises:
            CallError: The caller has used up a limit.
        """
        qualified = self.catalog.qualified(model or "")
        admission = await self.governor.admission(caller, request.document, route=route, models=[qualified])
        refusal = await admission.admit(qualified, is_final=True)
        told = quota_headers(admission.counted, request.call.api_format) if self.is_telling else []
        if refusal:
            refusal.headers = tuple(told)
            raise refusal
        return [(name.encode(), value.encode()) for name, value in told]
