"""OpenAI Chat Completions: `POST /v1/chat/completions`."""

from typing import Final

from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.wire import fields
from plano_asgi.wire.content import read_content
from plano_asgi.wire.continuity import tool_names
from plano_asgi.wire.fields import Fields, an_array, an_object, place, required, required_string
from plano_asgi.wire.inline_policy import read_inline_policy

PATH: Final = "/v1/chat/completions"
_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,  # the form before tools, still accepted
}


def read(body: Fields) -> LLMCall:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    return LLMCall(
        api_format=ApiFormat.CHAT_COMPLETIONS,
        model=fields.model(body),
        conversation=_conversation(body),
        is_stream=fields.is_stream(body),
        inline_policy=read_inline_policy(body),
        tools=tool_names(body),
    )


def _conversation(body: Fields) -> Conversation:
    messages = an_array(required(body, "messages"), "messages")
    return tuple(_message(element, place("messages", index)) for index, element in enumerate(messages))


def _message(element: object, at: str) -> Message:
    message = an_object(element, at)
    role_name = required_string(message, "role", at)
    role = _ROLES.get(role_name)
    if role is None:
        raise fields.invalid(place(at, "role"), f"expected one of {', '.join(_ROLES)}")
    said = message.get("content")
    if isinstance(said, str) and "tool_calls" not in message:  # as most are; read in half the time
        return Message(role=role, text=said)
    content = read_content(said, place(at, "content"))
    return Message(role=role, text=content.text, tool_calls=_tool_calls(message, at), has_image=content.has_image)


def _tool_calls(message: Fields, at: str) -> tuple[str, ...]:
    calls = message.get("tool_calls")
    if calls is None:
        return ()
    calls_at = place(at, "tool_calls")
    names = []
    for index, element in enumerate(an_array(calls, calls_at, allow_empty=True)):
        call_at = place(calls_at, index)
        call = an_object(element, call_at)
        kind = "custom" if call.get("type") == "custom" else "function"
        called_at = place(call_at, kind)
        called = an_object(required(call, kind, call_at), called_at)
        names.append(required_string(called, "name", called_at))
    return tuple(names)
