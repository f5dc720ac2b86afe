"""Requests and whole answers from one API to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import UnusableAnswerError, WireFormatError
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Loss, Losses
from plano_asgi.translate.native import native_request
from plano_asgi.translate.responses.answers import echo_of
from plano_asgi.translate.tables import CALLERS, PROVIDERS
from plano_asgi.translate.taking import Taking
from plano_asgi.wire import read_document
from plano_asgi.wire.exact_json import read_json, with_exact_numbers, write_json


@dataclass(frozen=True, slots=True)
class TranslatedRequest:
    """A request in the provider's words.

    Attributes:
        body: What the provider is sent.
        losses: What could not be carried.
        context: What its answer is translated back with.
    """

    body: bytes = field(repr=False)
    losses: tuple[Loss, ...]
    context: TranslationContext


@dataclass(frozen=True, slots=True)
class TranslatedAnswer:
    """An answer in the caller's words, and what could not be carried."""

    body: bytes = field(repr=False)
    losses: tuple[Loss, ...]


def translate_request(  # noqa: PLR0913 - what a call is, and what only the outside knows: whose, when and which
    body: bytes,
    source: ApiFormat,
    target: ProviderFormat,
    *,
    model: str,
    now: int = 0,
    call_id: str | None = None,
    keeping: Mapping[str, object] = MappingProxyType({}),
) -> TranslatedRequest:
    """Return a request of the caller's API in that of the provider.

    Args:
        body: The caller's body.
        source: The caller's API.
        target: The provider's.
        model: The model as the provider names it.
        now: Unix seconds, for answers that must tell a time.
        call_id: What ids are made of where a provider gives none; derived from the body where nobody has one.
        keeping: Fields by which a Responses answer tells how it is kept, where that is our affair: its answer has them,
            and a provider of another API is told nothing of those that the call has.

    Raises:
        WireFormatError: The body does not have the caller's API's shape.
        NotTranslatableError: It holds what the provider's API has no place for, and would be another call without.
    """
    document = read_document(body)
    losses = Losses()
    context = TranslationContext(
        source=source,
        target=target,
        model=model,
        call_id=call_id or blake2b(body, digest_size=12).hexdigest(),
        now=now,
    )
    if context.is_native:
        written = native_request(document, source, model=model, losses=losses)
        return TranslatedRequest(written, losses.noted, context)
    value = with_exact_numbers(document.data, document.value)
    if not isinstance(value, dict):
        raise TypeError
    told = {key: field for key, field in value.items() if key not in keeping}
    call = CALLERS[source].read_request(Taking(told, "", losses))
    written = write_json(PROVIDERS[target].write_request(call, model=model, losses=losses))
    echoed = {**echo_of(value), **keeping} if source is ApiFormat.RESPONSES else {}
    remembered = replace(context, wants_usage=call.wants_usage, echoed=echoed)
    return TranslatedRequest(written, losses.noted, remembered)


def translate_answer(body: bytes, context: TranslationContext) -> TranslatedAnswer:
    """Return a provider's whole answer in the caller's API.

    Raises:
        UnusableAnswerError: It is not an answer of the provider's API, or says that it failed.
    """
    if context.is_native:
        return TranslatedAnswer(body, ())
    losses = Losses()
    try:
        value = read_json(body)
        if not isinstance(value, dict):
            raise UnusableAnswerError("the provider's answer is no JSON object")
        answer = PROVIDERS[context.target].read_answer(Taking(value, "", losses))
        written = write_json(CALLERS[context.source].write_answer(answer, context, losses))
    except WireFormatError as error:
        place = f" (at {error.param})" if error.param else ""
        raise UnusableAnswerError(f"the provider's answer does not have the shape of its API{place}") from None
    except ValueError:
        raise UnusableAnswerError("the provider's answer is no JSON in UTF-8") from None
    return TranslatedAnswer(written, losses.noted)
