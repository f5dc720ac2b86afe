"""Requests as guardrails let them pass, before and after they are decided."""

from dataclasses import replace

import anyio

from plano_asgi.guard import Guard, GuardedCall
from plano_asgi.intake.routing_requests import RoutingRequest


async def aadmitted(request: RoutingRequest, guard: Guard | None, *, request_id: str) -> RoutingRequest:
    """Return a request as it may be read by whoever decides it.

    Raises:
        GuardrailError: It may not pass.
    """
    if guard is None:
        return request
    guarded = await guard.admit(request.call, request.document, request_id=request_id)
    return replace(request, call=guarded.call, document=guarded.document)


async def aadmitted_to(
    route: str | None, request: RoutingRequest, guard: Guard | None, *, request_id: str
) -> RoutingRequest:
    """Return a request as it may be read by who serves its route.

    Raises:
        GuardrailError: It may not pass.
    """
    if guard is None:
        return request
    guarded = GuardedCall(call=request.call, document=request.document)
    guarded = await guard.admit_to(route, guarded, request_id=request_id)
    return replace(request, call=guarded.call, document=guarded.document)


def admitted(request: RoutingRequest, guard: Guard | None, *, request_id: str) -> RoutingRequest:
    """Return what `aadmitted` does, from a thread without an event loop; outside filters are connected to each time.

    Raises:
        GuardrailError: It may not pass.
    """

    async def admit(guard: Guard) -> RoutingRequest:
        try:
            return await aadmitted(request, guard, request_id=request_id)
        finally:
            await guard.aclose()

    return anyio.run(admit, guard) if guard else request


def admitted_to(route: str | None, request: RoutingRequest, guard: Guard | None, *, request_id: str) -> RoutingRequest:
    """Return what `aadmitted_to` does, from a thread without an event loop.

    Raises:
        GuardrailError: It may not pass.
    """

    async def admit(guard: Guard) -> RoutingRequest:
        try:
            return await aadmitted_to(route, request, guard, request_id=request_id)
        finally:
            await guard.aclose()

    return anyio.run(admit, guard) if guard and route in guard.by_route else request
