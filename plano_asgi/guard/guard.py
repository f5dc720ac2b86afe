"""`Guard`: what may pass, of calls before anybody reads them, and of answers before anybody hears them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import CallError, WireFormatError
from plano_asgi.guard.chain import Chain, Guardrail
from plano_asgi.guard.pii import Placeholders
from plano_asgi.guard.verdicts import Subject
from plano_asgi.off_the_loop import off_the_loop
from plano_asgi.wire import FORMATS, JsonDocument, read_call, read_document

NOTHING: Final = Chain()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedCall:
    """A call that may pass, as it may; its words are not in its `repr`.

    Attributes:
        call: The call, as all that follows reads it.
        document: The body that makes it.
        placeholders: What was masked, in the order in which it was.
    """

    call: LLMCall
    document: JsonDocument = field(repr=False)
    placeholders: tuple[Placeholders, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """All guardrails of a service; holds nothing of a call.

    Attributes:
        everywhere: Those of all calls.
        by_route: Those of calls of a route, beyond the former.
        holds_answers: Whether a streamed answer is judged before any of it is told.
        most_held_bytes: Most bytes of an answer that is held for that.
    """

    everywhere: Chain
    by_route: Mapping[str, Chain]
    holds_answers: bool
    most_held_bytes: int

    async def admit(self, call: LLMCall, document: JsonDocument, *, request_id: str) -> GuardedCall:
        """Return a call as it may pass by the guardrails of all calls; before it is decided.

        Raises:
            GuardrailError: It may not pass.
        """
        return await _passed(GuardedCall(call=call, document=document), self.everywhere.calls, request_id)

    async def admit_to(self, route: str | None, guarded: GuardedCall, *, request_id: str) -> GuardedCall:
        """Return a call as it may pass by the guardrails of its route.

        Raises:
            GuardrailError: It may not pass.
        """
        return await _passed(guarded, self.by_route.get(route or "", NOTHING).calls, request_id)

    def answers_of(self, route: str | None) -> tuple[Guardrail, ...]:
        """Return the guardrails of the answers of a route."""
        return (*self.everywhere.answers, *self.by_route.get(route or "", NOTHING).answers)

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        for chain in (self.everywhere, *self.by_route.values()):
            await chain.aclose()


async def _passed(guarded: GuardedCall, guardrails: tuple[Guardrail, ...], request_id: str) -> GuardedCall:
    for guardrail in guardrails:
        subject = _subject(guarded, request_id)
        verdict = await guardrail.verdict(subject)
        if verdict.body is None:
            continue
        try:
            changed = await _read(verdict.body, guarded.call)
        except CallError as error:
            guardrail.unusable(subject, error.code)
            continue
        added = (verdict.placeholders,) if verdict.placeholders else ()
        guarded = replace(changed, placeholders=(*guarded.placeholders, *added))
    return guarded


def _subject(guarded: GuardedCall, request_id: str) -> Subject:
    return Subject(
        api_format=guarded.call.api_format,
        path=FORMATS[guarded.call.api_format].path,
        body=guarded.document.data,
        value=guarded.document.value,
        conversation=guarded.call.conversation,
        request_id=request_id,
    )


async def _read(body: bytes, before: LLMCall) -> GuardedCall:
    """Return the call that a filter has made of another.

    Raises:
        CallError: It is none of the same API, or asks for a stream where the caller does not.
    """
    guarded = await off_the_loop(partial(_call_of, body, before.api_format), size=len(body))
    if guarded.call.is_stream is not before.is_stream:
        message = "a filter may not change whether the answer is streamed"
        raise WireFormatError(message, code="invalid_value", param="stream")
    said = guarded.call  # what the caller's headers say of the call stays
    call = replace(before, conversation=said.conversation, model=said.model, inline_policy=said.inline_policy)
    return replace(guarded, call=call)


def _call_of(body: bytes, api_format: ApiFormat) -> GuardedCall:
    document = read_document(body)
    return GuardedCall(call=read_call(document, api_format), document=document)
