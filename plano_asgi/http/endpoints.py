"""The decision endpoints as an ASGI app: what the router would do, with no model called."""

from collections.abc import Mapping
from dataclasses import dataclass

import anyio.to_thread
from starlette.types import Receive, Scope, Send

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.events import CALL_REFUSED, CallIdentity, get_logger, identified
from plano_asgi.guard import Guard
from plano_asgi.http.bodies import ClientDisconnectedError, read_body
from plano_asgi.intake import Answer, Headers, RequestReader, check_head, decision_answer, error_answer
from plano_asgi.intake.guarding import aadmitted
from plano_asgi.intake.routing_requests import ENDPOINTS
from plano_asgi.router import Router
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEndpoint:
    """Decides the calls of one API format.

    Attributes:
        router: What decides.
        api_format: The format of bodies and errors.
        reader: How bodies are read.
        body_timeout_s: Most seconds that a body may take to arrive.
        guard: What may pass; None where everything may.
    """

    router: Router
    api_format: ApiFormat
    reader: RequestReader
    body_timeout_s: float
    guard: Guard | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request with a decision, or with an error in the caller's API format."""
        headers = Headers.from_raw(scope["headers"])
        with identified(headers.identity()) as identity:
            try:
                answer = await self._decide(scope["method"], headers, receive, identity)
            except CallError as error:
                get_logger().info(CALL_REFUSED, api_format=self.api_format.value, status=error.status, code=error.code)
                answer = error_answer(error, api_format=self.api_format, request_id=identity.request_id)
            except ClientDisconnectedError:
                return
        await send_answer(answer, send)

    async def _decide(self, method: str, headers: Headers, receive: Receive, identity: CallIdentity) -> Answer:
        check_head(method, headers, body_bytes=self.reader.body_bytes)
        body = await read_body(receive, limit=self.reader.body_bytes, timeout_s=self.body_timeout_s)
        request = await self.reader.aread(self.api_format, headers, body)
        request = await aadmitted(request, self.guard, request_id=identity.request_id)
        decision = await self.router.aroute(request.call, bypass=request.bypass)
        is_explained = headers.asks_for_readings
        return decision_answer(
            decision,
            api_format=self.api_format,
            classifier=self.router.classifier.kind,
            trace_id=identity.trace_id,
            request_id=identity.request_id,
            readings=await anyio.to_thread.run_sync(self.router.readings, request.call) if is_explained else None,
        )


async def send_answer(answer: Answer, send: Send) -> None:
    """Send one whole answer."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def decision_endpoints(
    settings: Settings, router: Router, guard: Guard | None = None
) -> Mapping[str, DecisionEndpoint]:
    """Return the decision endpoints by their paths; none where the settings switch them off."""
    if not settings.endpoints:
        return {}
    return {
        path: DecisionEndpoint(
            router=router,
            api_format=api_format,
            reader=RequestReader.of(settings),
            body_timeout_s=settings.limits.body_timeout_s,
            guard=guard,
        )
        for path, api_format in ENDPOINTS.items()
    }
