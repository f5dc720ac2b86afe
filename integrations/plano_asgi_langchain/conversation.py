"""LangChain's messages as a router reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.policy import Needs, needs_of
from plano_asgi.wire.content import IMAGE_PARTS, TEXT_PARTS
from plano_asgi.wire.continuity import stored_id, tool_names
from plano_asgi.wire.inline_policy import INLINE_KEYS, read_inline_policy
from plano_asgi_langchain.thoughts import latest_signature, parts_of

PREVIOUS_RESPONSE: Final = "previous_response_id"

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "ai": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


def call_of(messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> LLMCall:
    """Return the call that messages make; a policy of their own is `routing_policy` or `routing_preferences`.

    Args:
        messages: The conversation, oldest first.
        options: What the call is made with besides.

    Raises:
        InlinePolicyError: The call's own policy is malformed.
    """
    return LLMCall(
        api_format=ApiFormat.CHAT_COMPLETIONS,
        conversation=tuple(map(_message, messages)),
        tools=tool_names({"tools": options.get("tools")}),
        inline_policy=read_inline_policy({key: options.get(key) for key in INLINE_KEYS}),
        previous_response=stored_id(options, PREVIOUS_RESPONSE),
        stored_conversation=stored_id(options, "conversation"),
        latest_signature=latest_signature(messages),
    )


def needs_of_call(call: LLMCall, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> Needs:
    """Return what a call asks of a model: to read images or audio, to call tools, to read that much."""
    body = {"tools": options.get("tools"), "messages": [{"content": message.content} for message in messages]}
    return needs_of(call, body)


def _message(message: BaseMessage) -> Message:
    parts = list(parts_of(message))
    texts = [part["text"] for part in parts if part.get("type") in TEXT_PARTS and isinstance(part.get("text"), str)]
    return Message(
        role=_ROLES.get(getattr(message, "role", message.type), Role.USER),
        text="\n".join(texts),
        tool_calls=tuple(call["name"] for call in message.tool_calls) if isinstance(message, AIMessage) else (),
        has_image=any(part.get("type") in IMAGE_PARTS for part in parts),
    )
