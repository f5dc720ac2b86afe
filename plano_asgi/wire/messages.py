"""Anthropic Messages: `POST /v1/messages`."""

from collections.abc import Iterator
from typing import Final

from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.wire import fields
from plano_asgi.wire.content import read_content
from plano_asgi.wire.continuity import latest_signature, tool_names
from plano_asgi.wire.fields import Fields, an_array, an_object, place, required, required_string
from plano_asgi.wire.inline_policy import read_inline_policy

PATH: Final = "/v1/messages"
_ROLES: Final = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}


def read(body: Fields) -> LLMCall:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    model = fields.model(body)
    max_tokens = required(body, "max_tokens")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise fields.wrong_type("max_tokens", "a whole number")
    return LLMCall(
        api_format=ApiFormat.MESSAGES,
        model=model,
        conversation=_conversation(body),
        is_stream=fields.is_stream(body),
        inline_policy=read_inline_policy(body),
        tools=tool_names(body),
        latest_signature=latest_signature(body),
    )


def _conversation(body: Fields) -> Conversation:
    system = read_content(body.get("system"), "system")
    messages = an_array(required(body, "messages"), "messages")
    instructions = (Message(role=Role.SYSTEM, text=system.text),) if system.text else ()
    turns = (
        message
        for index, element in enumerate(messages)
        for message in _turn(an_object(element, place("messages", index)), place("messages", index))
    )
    return (*instructions, *turns)


def _turn(message: Fields, at: str) -> Iterator[Message]:
    """Yield the tool results that a turn carries, then what it says itself."""
    role = _ROLES.get(required_string(message, "role", at))
    if role is None:
        raise fields.invalid(place(at, "role"), f"expected one of {', '.join(_ROLES)}")
    content = read_content(required(message, "content", at), place(at, "content"))
    yield from (Message(role=Role.TOOL, text=text, has_image=shows) for text, shows in content.tool_results)
    if content.text or content.tool_calls or content.has_image or not content.tool_results:
        yield Message(role=role, text=content.text, tool_calls=content.tool_calls, has_image=content.has_image)
