"""OpenAI Responses: `POST /v1/responses`."""

from typing import Final

from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.wire import fields
from plano_asgi.wire.content import read_content
from plano_asgi.wire.fields import Fields, a_string, an_array, an_object, place, required
from plano_asgi.wire.inline_policy import read_inline_policy

PATH: Final = "/v1/responses"
_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
_CALL_ITEMS: Final = frozenset({"function_call", "custom_tool_call"})
_OUTPUT_ITEMS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def read(body: Fields) -> LLMCall:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    return LLMCall(
        api_format=ApiFormat.RESPONSES,
        model=fields.model(body),
        conversation=(*_instructions(body), *_input(body)),
        is_stream=fields.is_stream(body),
        inline_policy=read_inline_policy(body),
    )


def _instructions(body: Fields) -> Conversation:
    content = read_content(body.get("instructions"), "instructions")
    return (Message(role=Role.SYSTEM, text=content.text),) if content.text else ()


def _input(body: Fields) -> Conversation:
    value = body.get("input")
    if value is None:
        if body.get("prompt") is None:  # a stored prompt brings its own input
            raise fields.missing("input")
        return ()
    if isinstance(value, str):
        return (Message(role=Role.USER, text=value),)
    if not isinstance(value, list):
        raise fields.wrong_type("input", "a string or an array of items")
    items = an_array(value, "input", allow_empty=True)
    messages = (_item(an_object(item, place("input", i)), place("input", i)) for i, item in enumerate(items))
    return tuple(message for message in messages if message is not None)


def _item(item: Fields, at: str) -> Message | None:
    """Return what an input item says, None for items without words of their own (reasoning, references, ...)."""
    kind = a_string(item.get("type", "message"), place(at, "type"))
    if kind == "message":
        role = _ROLES.get(a_string(required(item, "role", at), place(at, "role")))
        if role is None:
            raise fields.invalid(place(at, "role"), f"expected one of {', '.join(_ROLES)}")
        content = read_content(required(item, "content", at), place(at, "content"))
        return Message(role=role, text=content.text, has_image=content.has_image)
    if kind in _CALL_ITEMS:
        name = a_string(required(item, "name", at), place(at, "name"))
        return Message(role=Role.ASSISTANT, text="", tool_calls=(name,))
    if kind in _OUTPUT_ITEMS:
        content = read_content(item.get("output"), place(at, "output"))
        return Message(role=Role.TOOL, text=content.text, has_image=content.has_image)
    return None
