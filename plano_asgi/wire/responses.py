"""OpenAI Responses: `POST /v1/responses`."""

from typing import Final

from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.wire import fields
from plano_asgi.wire.content import read_content
from plano_asgi.wire.continuity import latest_signature, stored_id, tool_names
from plano_asgi.wire.fields import Fields, a_string, an_array, an_object, place, required, required_string
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
_OTHER_OUTPUTS: Final = ("_call_output", "mcp_approval_response")
_STORED_INPUTS: Final = ("prompt", "previous_response_id", "conversation")


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
        tools=tool_names(body),
        previous_response=stored_id(body, "previous_response_id"),
        stored_conversation=stored_id(body, "conversation"),
        latest_signature=latest_signature(body),
    )


def _instructions(body: Fields) -> Conversation:
    content = read_content(body.get("instructions"), "instructions")
    return (Message(role=Role.SYSTEM, text=content.text),) if content.text else ()


def _input(body: Fields) -> Conversation:
    value = body.get("input")
    if value is None:
        if all(body.get(key) is None for key in _STORED_INPUTS):
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
    kind = _kind(item, at)
    if kind == "message":
        role = _ROLES.get(required_string(item, "role", at))
        if role is None:
            raise fields.invalid(place(at, "role"), f"expected one of {', '.join(_ROLES)}")
        content = read_content(required(item, "content", at), place(at, "content"))
        return Message(role=role, text=content.text, has_image=content.has_image)
    if kind in _CALL_ITEMS:
        name = required_string(item, "name", at)
        return Message(role=Role.ASSISTANT, text="", tool_calls=(name,))
    if kind in _OUTPUT_ITEMS:
        content = read_content(item.get("output"), place(at, "output"))
        return Message(role=Role.TOOL, text=content.text, has_image=content.has_image)
    if kind.endswith(_OTHER_OUTPUTS):  # of tools that a client runs and whose results have shapes of their own
        return Message(role=Role.TOOL, text="", has_image=kind == "computer_call_output")
    return None


def _kind(item: Fields, at: str) -> str:
    """Return an item's type; both a message and a reference (by `id` alone) may leave it out."""
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    return a_string(kind, place(at, "type"))
