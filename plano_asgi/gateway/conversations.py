"""`previous_response_id`: what was said before, kept where the provider keeps nothing, and who keeps it otherwise."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import anyio.to_thread

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import ForwardingError, StoreError, UnknownResponseError, WireFormatError
from plano_asgi.events import RESPONSE_NOT_KEPT, get_logger
from plano_asgi.gateway.kept_responses import KeptResponse, key_of, tenant_of
from plano_asgi.off_the_loop import off_the_loop
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.stores.documents import DocumentStore
from plano_asgi.wire import JsonDocument, read_call
from plano_asgi.wire.continued_responses import PREVIOUS, is_to_be_kept, items_of, previous_id, resumed

_TOO_LONG: Final = "the conversation is longer than responses_state.conversation_bytes"

Keep = Callable[[Mapping[str, object], str], Awaitable[bool]]
"""Keeps an answer that a model gave, and returns whether calls can go on from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuedCall:
    """A Responses call with all that was said before it; its words are not in its `repr`.

    Attributes:
        call: The call.
        document: The body that makes it.
        tenant: Whose it is, see `tenant_of`.
        keeping: How a translated answer tells whether it is kept.
        owner: The only model that can serve it, since its provider keeps what was said before; None where any can.
    """

    call: LLMCall
    document: JsonDocument = field(repr=False)
    tenant: bytes = field(repr=False)
    keeping: Mapping[str, object]
    owner: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether anything was said before it."""
        return self.keeping[PREVIOUS] is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """Keeps what Responses calls go on from, under the ids of their answers.

    An id is of use only to the caller whose credential came with the call. A provider that speaks Responses keeps its
    answers itself; of those only the model is kept, which calls that go on from them are sent to.

    Attributes:
        store: Where; it forgets after a while.
        catalog: The declared models.
        most_bytes: Most bytes of one conversation; a longer one is not kept.
    """

    store: DocumentStore
    catalog: ModelCatalog
    most_bytes: int

    async def resume(
        self, call: LLMCall, document: JsonDocument, client_headers: Iterable[tuple[bytes, bytes]]
    ) -> ContinuedCall:
        """Return a Responses call with all that was said before it.

        Raises:
            UnknownResponseError: 400, nothing is known of what it goes on from.
            ForwardingError: 503, that cannot be looked up now.
        """
        tenant, previous = tenant_of(client_headers), previous_id(document.value)
        owner, wants_kept = None, is_to_be_kept(document.value)
        if previous is not None:
            kept = await self._previous(tenant, previous)
            owner = kept.owner
            if owner is None:
                call, document = await anyio.to_thread.run_sync(_resumed, document, kept.items)
            else:
                call = replace(call, model=owner)
        keeps = wants_kept and len(document.data) <= self.most_bytes
        own_id = {"id": f"resp_{secrets.token_hex(24)}"} if keeps else {}
        keeping = {PREVIOUS: previous, "store": keeps, **own_id}
        return ContinuedCall(call=call, document=document, tenant=tenant, keeping=keeping, owner=owner)

    async def keeper(self, continued: ContinuedCall, pool: Iterable[ModelProvider]) -> Keep | None:
        """Return what keeps the answer to a call that the pool may serve; None where nobody may go on from it.

        It holds what was said only where a provider may answer that does not keep it itself.
        """
        if not is_to_be_kept(continued.document.value):
            return None
        is_kept_by_us = continued.keeping["store"] and not all(map(_is_native, pool))
        document, items = continued.document, tuple[object, ...]()
        if is_kept_by_us:
            items = tuple(await off_the_loop(partial(items_of, document), size=len(document.data)))
        return partial(self._keep, continued.tenant, items, len(document.data))

    async def _keep(
        self, tenant: bytes, said: tuple[object, ...], size: int, response: Mapping[str, object], model: str
    ) -> bool:
        response_id, provider = response.get("id"), self.catalog.provider_of(model)
        if not isinstance(response_id, str) or not isinstance(response.get("output"), list) or provider is None:
            return False
        kept = KeptResponse(owner=model) if _is_native(provider) else KeptResponse(said=said, response=response)
        problem = "the provider does not keep it" if kept.owner else _TOO_LONG
        if response.get("store") is not False:
            problem = await self._put(key_of(tenant, response_id), kept, size)
        if problem:
            get_logger().warning(RESPONSE_NOT_KEPT, model=model, detail=problem)
        return not problem

    async def _put(self, key: str, kept: KeptResponse, size: int) -> str:
        """Return why something cannot be kept; empty where it is."""
        try:
            document = await off_the_loop(kept.as_document, size=size)
            if len(document) > self.most_bytes:
                return _TOO_LONG
            await self.store.keep(key, document)
        except (StoreError, WireFormatError) as error:
            return str(error)
        return ""

    async def find(self, tenant: bytes, response_id: str) -> KeptResponse | None:
        """Return what is kept of an answer for a tenant; None where that is nothing.

        Raises:
            ForwardingError: 503, it cannot be looked up now.
        """
        try:
            document = await self.store.read(key_of(tenant, response_id))
            return None if document is None else await off_the_loop(partial(_read, document), size=len(document))
        except StoreError as error:
            raise _unavailable("what was said before cannot be looked up now") from error

    async def forget(self, tenant: bytes, response_id: str) -> None:
        """Keep an answer no longer; calls that went on from it have kept what was said in it.

        Raises:
            ForwardingError: 503, it cannot be removed now.
        """
        try:
            await self.store.remove(key_of(tenant, response_id))
        except StoreError as error:
            raise _unavailable("what was said cannot be removed now") from error

    async def _previous(self, tenant: bytes, response_id: str) -> KeptResponse:
        kept = await self.find(tenant, response_id)
        if kept is None:
            raise _not_found("no response of that id is kept for you; it may have expired")
        if kept.owner is not None and self.catalog.provider_of(kept.owner) is None:
            raise _not_found("the model that keeps that response is no longer declared here")
        return kept


def _resumed(document: JsonDocument, items: tuple[object, ...]) -> tuple[LLMCall, JsonDocument]:
    whole = resumed(document, items)
    return read_call(whole, ApiFormat.RESPONSES), whole


def _read(document: bytes) -> KeptResponse:
    try:
        return KeptResponse.from_document(document)
    except ValueError as error:
        raise StoreError(str(error)) from None


def _is_native(provider: ModelProvider) -> bool:
    """Return whether a provider speaks Responses, and so keeps its answers itself."""
    return ApiFormat.RESPONSES in provider.api_formats


def _unavailable(what: str) -> ForwardingError:
    message = f"{what}; try again, or send the conversation in input"
    return ForwardingError(message, status=503, code="responses_state_unavailable", retry_after_s=1.0)


def _not_found(why: str) -> UnknownResponseError:
    message = f"{PREVIOUS}: {why}; send the conversation in input instead"
    return UnknownResponseError(message, code="previous_response_not_found", param=PREVIOUS)
