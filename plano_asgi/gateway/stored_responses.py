"""Answers that were given before: read again, listed by what they were made of, and deleted."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, Self
from urllib.parse import parse_qsl

import anyio.to_thread

from plano_asgi.errors import WireFormatError
from plano_asgi.gateway.conversations import Conversations
from plano_asgi.gateway.gateway import Gateway
from plano_asgi.gateway.kept_responses import KeptResponse, tenant_of
from plano_asgi.govern import ALL, Caller, Governor
from plano_asgi.upstream import ForwardedAnswer, Forwarder, OnePiece, StoredResource
from plano_asgi.wire.exact_json import write_json
from plano_asgi.wire.fields import Fields, invalid
from plano_asgi.wire.input_items import ItemsQuery, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """What is asked of an answer that was given before; its headers are not in its `repr`.

    Attributes:
        caller: Who asks.
        response_id: Of which answer.
        method: Whether it is to be read or deleted.
        is_of_items: Whether the items that it was made of are to be read, in its stead.
        query: What the URL says behind its path.
    """

    caller: Caller = field(repr=False)
    response_id: str
    method: Literal["GET", "DELETE"]
    is_of_items: bool = False
    query: str = ""

    @property
    def resource(self) -> StoredResource:
        """What a provider that keeps the answer is asked for."""
        path = (self.response_id, "input_items") if self.is_of_items else (self.response_id,)
        return StoredResource(method=self.method, path=path, query=self.query)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponses:
    """Answers requests for answers: of what is kept here ourselves, else by the provider that keeps it.

    Whoever did not make the call with the same credential is told that there is no such answer.

    Attributes:
        conversations: What is kept.
        forwarder: What asks providers.
        governor: What callers may use; None where that is all.
        is_guarded: Whether guardrails act; what a provider keeps has passed none of those of answers, and is not read.
    """

    conversations: Conversations
    forwarder: Forwarder
    governor: Governor | None
    is_guarded: bool = False

    @classmethod
    def of(cls, gateway: Gateway) -> Self | None:
        """Return those of a gateway; None where it keeps nothing."""
        if gateway.conversations is None:
            return None
        return cls(
            conversations=gateway.conversations,
            forwarder=gateway.forwarder,
            governor=gateway.governor,
            is_guarded=gateway.guard is not None,
        )

    async def answer(self, asked: StoredRequest) -> ForwardedAnswer:
        """Return the answer to one request.

        Raises:
            CallError: 404, nobody keeps it for this caller; 403, guardrails act and its provider keeps it; 400, the
                query is wrong; 503, it cannot be looked up now; or its provider gives no answer.
        """
        allowed = self.governor.allowed(asked.caller) if self.governor else ALL
        if dict(parse_qsl(asked.query)).get("stream") == "true":
            raise invalid("stream", "an answer that is kept is told as a whole; leave this out")
        tenant = tenant_of(asked.caller.headers)
        kept = await self.conversations.find(tenant, asked.response_id)
        if kept is None:
            raise _not_found()
        if kept.owner is None:
            answer = await anyio.to_thread.run_sync(_told, kept, asked)
        else:
            provider = self.conversations.catalog.provider_of(kept.owner)
            if provider is None or not allowed.has_model(kept.owner):
                raise _not_found()
            if self.is_guarded and asked.method == "GET":
                raise _unjudged()
            answer = await self.forwarder.fetch(provider, asked.resource, client_headers=asked.caller.headers)
        if asked.method == "DELETE" and answer.status < HTTPStatus.BAD_REQUEST:
            await self.conversations.forget(tenant, asked.response_id)
        return answer


def _told(kept: KeptResponse, asked: StoredRequest) -> ForwardedAnswer:
    """Return what is told of an answer that we keep."""
    if asked.method == "DELETE":
        told: Fields = {"id": asked.response_id, "object": "response", "deleted": True}
    elif asked.is_of_items:
        told = page_of(kept.said, ItemsQuery.of(asked.query), response_id=asked.response_id)
    else:
        told = kept.response
    headers = (("content-type", "application/json"),)
    return ForwardedAnswer(model="", status=HTTPStatus.OK, headers=headers, pieces=OnePiece(write_json(told)))


def _unjudged() -> WireFormatError:
    message = "guardrails act here, and what the provider keeps has not passed them; keep the answer as it was given"
    return WireFormatError(message, code="response_not_judged", status=HTTPStatus.FORBIDDEN)


def _not_found() -> WireFormatError:
    message = "no response of that id is kept for you; it may have expired, or its call may have said store: false"
    return WireFormatError(message, code="response_not_found", status=HTTPStatus.NOT_FOUND)
