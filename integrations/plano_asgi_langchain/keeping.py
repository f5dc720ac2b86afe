"""Which model a conversation is to stay with: another could not go on with what this one has begun."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source
from plano_asgi.providers import ModelCatalog
from plano_asgi.stores import Store
from plano_asgi_langchain.thoughts import seal_of

METADATA_KEY: Final = "plano"
MOST_RESPONSES: Final = 10_000
Responses = Store[str, Mapping[str, Any]]
"""What was told of answers, by the ids under which their providers keep them."""

_TOOL_RESULTS: Final = frozenset({"tool", "function"})


def kept_decision(
    call: LLMCall, messages: Sequence[BaseMessage], *, catalog: ModelCatalog, responses: Responses
) -> RoutingDecision | None:
    """Return the decision that still holds, by what earlier answers have said of theirs; None where none does.

    It holds where the conversation goes on with a response that its provider keeps (`previous_response_id`), inside a
    tool loop, where the latest message is a tool's result, and wherever the history has thoughts that their maker has
    sealed. A model that is no longer declared holds nothing.

    Args:
        call: The call.
        messages: Its conversation, oldest first; the answers in it say who gave them.
        catalog: The declared models.
        responses: What is known of responses that are not in the conversation.
    """
    if call.previous_response and (told := responses.get(call.previous_response)):
        return _decision_of(told, catalog)
    answers = [message for message in messages if isinstance(message, AIMessage)]
    is_in_tool_loop = bool(messages) and messages[-1].type in _TOOL_RESULTS
    if not (is_in_tool_loop or call.previous_response):
        answers = [answer for answer in answers if seal_of(answer)]
    return _decision_of(answers[-1].response_metadata.get(METADATA_KEY), catalog) if answers else None


def _decision_of(told: object, catalog: ModelCatalog) -> RoutingDecision | None:
    """Return the decision that an answer tells of."""
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
