"""`PlanoMiddleware`: the LLM calls of a Django project, rewritten in place."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import anyio.to_thread
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from plano_asgi.assembly import Adapted
from plano_asgi.hops import carrying, current_hops
from plano_asgi.intake import Answer, PassedCall
from plano_asgi.intake.rewriting import RawHeaders
from plano_asgi_django.requests import HeardCall, call_in, pass_on, remember, response_of, routed_before
from plano_asgi_django.service import adapted

NextHandler = Callable[[HttpRequest], Any]  # gives a response, or an awaitable of one


class PlanoMiddleware:
    """Routes the LLM calls that pass through it and leaves every other request as it is; sync or async, as its host.

    Views read the decided model in the body, and what was decided in `request.plano`. The model is loaded with the
    first call of a process.
    """

    sync_capable: ClassVar = True
    async_capable: ClassVar = True

    def __init__(self, get_response: NextHandler) -> None:
        """Read the settings.

        Raises:
            ConfigurationError: They cannot be used; every fault is named.
        """
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        adapted()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Return the project's response to a request, or ours in its place."""
        if self._is_async:
            return self._aserve(request)
        told: RawHeaders | HttpResponse = []
        hops = current_hops()
        if heard := _heard(request):
            own, call = heard
            hops = call.headers.hops
            own.first_call.begin()
            told = _given(request, own.calls.take_in(call.api_format, call.headers, call.body))
        if isinstance(told, HttpResponse):
            return told
        with carrying(hops):
            return _telling(self._get_response(request), told)

    async def _aserve(self, request: HttpRequest) -> HttpResponseBase:
        told: RawHeaders | HttpResponse = []
        hops = current_hops()
        if heard := _heard(request):
            own, call = heard
            hops = call.headers.hops
            if not own.first_call.is_over:
                await anyio.to_thread.run_sync(own.first_call.begin)
            told = _given(request, await own.calls.atake_in(call.api_format, call.headers, call.body))
        if isinstance(told, HttpResponse):
            return told
        with carrying(hops):
            return _telling(await self._get_response(request), told)


def _heard(request: HttpRequest) -> tuple[Adapted, HeardCall] | None:
    """Return the call that a request makes and what routes it, or None where it is to be left alone."""
    before = routed_before(request)
    remember(request, before)
    own = adapted()
    if own is None or (before and not before.is_observed):
        return None
    call = call_in(request, own.calls)
    return (own, call) if call else None


def _given(request: HttpRequest, outcome: PassedCall | Answer | None) -> RawHeaders | HttpResponse:
    """Give a request what became of its call; return the headers for its response, or the response itself."""
    if isinstance(outcome, Answer):
        return response_of(outcome)
    if outcome is None:
        return []
    pass_on(request, outcome)
    return outcome.told


def _telling(response: HttpResponseBase, told: RawHeaders) -> HttpResponseBase:
    for name, value in told:
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response
