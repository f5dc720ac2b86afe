"""`/v1/responses/{id}` and `/v1/responses/{id}/input_items` as an ASGI app."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.events import CALL_REFUSED, get_logger, identified
from plano_asgi.gateway import Gateway, StoredRequest, StoredResponses
from plano_asgi.govern import Caller
from plano_asgi.http.endpoints import send_answer
from plano_asgi.http.forwarding import unless_gone
from plano_asgi.http.governing import client_address
from plano_asgi.http.paths import path_in_app
from plano_asgi.intake import Answer, Headers, error_answer
from plano_asgi.settings import Settings
from plano_asgi.wire.continued_responses import MOST_ID_CHARS
from plano_asgi.wire.responses import PATH

METHODS: Final = ("GET", "DELETE")
_PATH: Final = re.compile(
    rf"(?P<calls>.*{re.escape(PATH)})/(?P<id>[^/]{{1,{MOST_ID_CHARS}}})(?P<items>/input_items)?", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponsesEndpoint:
    """Tells callers their answers again, and deletes them.

    Attributes:
        stored: The answers.
        paths: Ends of the URL paths that are calls, below which their answers are.
    """

    stored: StoredResponses
    paths: tuple[str, ...]

    def serves(self, scope: Scope) -> bool:
        """Return whether a request is for an answer, or for the items that one was made of."""
        found = _asked_for(scope) if scope["method"] in METHODS else None
        if found is None or (found["items"] and scope["method"] == "DELETE"):
            return False
        return found["calls"].endswith(self.paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await unless_gone(receive, partial(self._serve, scope, send))

    async def _serve(self, scope: Scope, send: Send) -> None:
        with identified(Headers.from_raw(scope["headers"]).identity()) as identity:
            try:
                answer = await self._answer(_request_of(scope), identity.request_id)
            except CallError as error:
                api_format = ApiFormat.RESPONSES
                get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
                answer = error_answer(error, api_format=api_format, request_id=identity.request_id)
        await send_answer(answer, send)

    async def _answer(self, asked: StoredRequest, request_id: str) -> Answer:
        told = await self.stored.answer(asked)
        body = await told.pieces.next()
        headers = {"x-request-id": request_id, **dict(told.headers), "content-length": str(len(body))}
        return Answer(told.status, tuple(headers.items()), body)


def stored_responses_endpoint(settings: Settings, gateway: Gateway | None) -> StoredResponsesEndpoint | None:
    """Return what tells callers their answers again; None where none are kept."""
    stored = StoredResponses.of(gateway) if gateway else None
    return StoredResponsesEndpoint(stored=stored, paths=settings.paths) if stored else None


def _request_of(scope: Scope) -> StoredRequest:
    found = _asked_for(scope)
    if found is None:
        raise CallError(f"an id has 1 to {MOST_ID_CHARS} characters", status=404, code="not_found")
    return StoredRequest(
        caller=Caller(scope["headers"], client_address(scope)),
        response_id=found["id"],
        method=scope["method"],
        is_of_items=bool(found["items"]),
        query=scope.get("query_string", b"").decode("latin-1"),
    )


def _asked_for(scope: Scope) -> re.Match[str] | None:
    path = path_in_app(scope)
    return None if b"%2f" in (scope.get("raw_path") or b"").lower() or "//" in path else _PATH.fullmatch(path)
