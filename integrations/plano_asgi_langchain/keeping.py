"""Which model a conversation is to stay with: another could not go on with what this one has begun."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source
from plano_asgi.providers import ModelCatalog
from plano_asgi_langchain.conversation import parts_of

METADATA_KEY: Final = "plano"
_TOOL_RESULTS: Final = frozenset({"tool", "function"})
_SEALED: Final = ("signature", "encrypted_content")  # thoughts that nobody but their thinker takes back


def kept_decision(
    messages: Sequence[BaseMessage], options: Mapping[str, Any], *, catalog: ModelCatalog
) -> RoutingDecision | None:
    """Return the decision that still holds, by what the history's own answers say of theirs; None where none does.

    It holds inside a tool loop, where the latest message is a tool's result, and wherever the history has thoughts that
    their maker has sealed, or is kept at the provider (`previous_response_id`). A model that is no longer declared
    holds nothing.
    """
    answers = [message for message in messages if isinstance(message, AIMessage)]
    is_in_tool_loop = bool(messages) and messages[-1].type in _TOOL_RESULTS
    if not (is_in_tool_loop or options.get("previous_response_id")):
        answers = [answer for answer in answers if _is_sealed(answer)]
    return _decision_on(answers[-1], catalog) if answers else None


def _decision_on(answer: AIMessage, catalog: ModelCatalog) -> RoutingDecision | None:
    told = answer.response_metadata.get(METADATA_KEY)
    if not isinstance(told, Mapping) or catalog.provider_of(str(told.get("model"))) is None:
        return None
    route, model = told.get("route"), str(told["model"])
    return RoutingDecision(
        route=route if isinstance(route, str) else None,
        models=(model,),
        would_use=model,
        reason=Reason.MATCHED if route else Reason.NO_MATCH,
        source=Source.SESSION,
        policy=PolicySource.CONFIG,
        confidence=told.get("confidence"),
    )


def _is_sealed(answer: AIMessage) -> bool:
    return any(part.get(key) for part in _thoughts(answer) for key in _SEALED) or any(
        part.get("type") == "redacted_thinking" for part in parts_of(answer)
    )


def _thoughts(answer: AIMessage) -> Iterator[Mapping[str, Any]]:
    """Yield whatever of an answer may bear a seal: its parts, what they have besides, and OpenAI's reasoning."""
    for part in parts_of(answer):
        yield part
        if isinstance(extras := part.get("extras"), Mapping):
            yield extras
    if isinstance(reasoning := answer.additional_kwargs.get("reasoning"), Mapping):
        yield reasoning
