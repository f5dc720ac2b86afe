"""An OpenAI Responses answer, read and written."""

from collections.abc import Mapping
from typing import Final

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.translate import usage
from plano_asgi.translate.answer import Answer, Said, Stop, Usage
from plano_asgi.translate.call import Keeper, Refusal, Text, Thinking, ToolCall
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.responses.reading_items import read_items
from plano_asgi.translate.taking import Taking
from plano_asgi.translate.thoughts import OUR_REASONING, marked
from plano_asgi.wire.fields import Fields, missing

_INCOMPLETE: Final[Mapping[str, Stop]] = {"max_output_tokens": Stop.MAX_TOKENS, "content_filter": Stop.REFUSAL}
_REASONS: Final[Mapping[Stop, str]] = {
    Stop.MAX_TOKENS: "max_output_tokens",
    Stop.CONTEXT_WINDOW: "max_output_tokens",
    Stop.REFUSAL: "content_filter",
}
_ECHOED: Final[Mapping[str, object]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}


def read_answer(body: Taking) -> Answer:
    """Return what a provider answered; the fields that repeat the request, or tell of its keeping, are no losses.

    Raises:
        WireFormatError: The body does not have this API's shape.
        UnusableAnswerError: It says that it failed.
    """
    items = body.take("output")
    if items is None:
        raise missing("output")
    parts = tuple(_said(items, body.losses))
    return Answer(
        parts=parts,
        stop=stop_of(body, parts),
        id=body.text("id") or "",
        model=body.text("model") or "",
        usage=usage.read_openai(body.take("usage")),
    )


def _said(items: object, losses: Losses) -> list[Said]:
    turns = read_items(items, losses, at="output")
    return [part for turn in turns for part in turn.parts if isinstance(part, Text | Refusal | Thinking | ToolCall)]


def stop_of(body: Taking, parts: tuple[object, ...]) -> Stop:
    """Return why an answer of these parts ended.

    Raises:
        UnusableAnswerError: It says that it failed.
    """
    status = body.text("status")
    if status in {"failed", "cancelled"}:
        raise UnusableAnswerError("the provider says that the answer failed; try again, or another model")
    details = body.child("incomplete_details")
    if status == "incomplete" and details is not None:
        reason = details.text("reason") or ""
        if reason not in _INCOMPLETE:
            body.losses.add(details.place("reason"), "the other API has no such reason to end")
        return _INCOMPLETE.get(reason, Stop.MAX_TOKENS)
    if any(isinstance(part, ToolCall) for part in parts):
        return Stop.TOOL_CALLS
    return Stop.REFUSAL if any(isinstance(part, Refusal) for part in parts) else Stop.END


def write_answer(answer: Answer, context: TranslationContext, losses: Losses) -> dict[str, object]:
    """Return the answer as this API's body; what it cannot carry is noted."""
    response = skeleton(context, answer_id=answer.id, model=answer.model)
    output: list[dict[str, object]] = []
    for part in answer.parts:
        item_id = f"{context.call_id}_{len(output)}"
        if isinstance(part, ToolCall):
            output.append(write_call(part, item_id))
        elif isinstance(part, Thinking):
            output.append(write_reasoning(part, item_id))
        else:
            _say(part, output, item_id)
    return (
        response
        | ending(answer.stop, losses, has_refusal=_has_refusal(answer.parts))
        | {
            "output": output,
            "usage": usage.as_responses(answer.usage or Usage()),
        }
    )


def echo_of(body: Fields) -> Fields:
    """Return those fields of a request that its answer repeats, tools with all the fields that theirs have."""
    echo = {key: body[key] for key in _ECHOED if body.get(key) is not None}
    tools = echo.get("tools")
    if isinstance(tools, list):
        echo["tools"] = [
            {"parameters": None, "strict": None, **tool} if tool["type"] == "function" else tool for tool in tools
        ]
    return echo


def skeleton(context: TranslationContext, *, answer_id: str, model: str) -> dict[str, object]:
    """Return an answer that has only begun, with those fields of the request that answers repeat."""
    return {
        "id": answer_id or f"resp_{context.call_id}",
        "object": "response",
        "created_at": context.now,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model or context.model,
        "output": [],
        "usage": None,
        "store": False,
        **_ECHOED,
        **context.echoed,
    }


def ending(stop: Stop, losses: Losses, *, has_refusal: bool) -> dict[str, object]:
    """Return what an answer says of its end; what it does not tell is a loss."""
    if stop in {Stop.PAUSE, Stop.CONTEXT_WINDOW, Stop.STOP_SEQUENCE}:
        losses.add("stop_reason", f"{stop.value} is told as {_REASONS.get(stop, 'completed')}")
    if stop in _REASONS and not (stop is Stop.REFUSAL and has_refusal):
        return {"status": "incomplete", "incomplete_details": {"reason": _REASONS[stop]}}
    return {"status": "completed"}


def _has_refusal(parts: tuple[Said, ...]) -> bool:
    return any(isinstance(part, Refusal) for part in parts)


def _say(part: Text | Refusal, output: list[dict[str, object]], item_id: str) -> None:
    """Add words to the message that is being written, or begin one."""
    content = write_words(part)
    if output and output[-1]["type"] == "message":
        last = output[-1]["content"]
        if isinstance(last, list):
            last.append(content)
    else:
        output.append(write_message([content], item_id))


def write_words(part: Text | Refusal) -> dict[str, object]:
    """Return words as a part of a message."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}


def write_message(content: list[Fields], item_id: str, *, status: str = "completed") -> dict[str, object]:
    """Return a message item."""
    fixed = {"type": "message", "role": "assistant", "status": status}
    return {"id": f"msg_{item_id}", **fixed, "content": list(content)}


def write_call(call: ToolCall, item_id: str, *, status: str = "completed") -> dict[str, object]:
    """Return a tool's call as an item."""
    named = {"call_id": call.id, "name": call.name, "status": status}
    if call.is_custom:
        return {"id": f"ctc_{item_id}", "type": "custom_tool_call", **named, "input": call.arguments}
    return {"id": f"fc_{item_id}", "type": "function_call", **named, "arguments": call.arguments or "{}"}


def write_reasoning(thinking: Thinking, item_id: str) -> dict[str, object]:
    """Return thoughts as an item; a signature that is not OpenAI's is marked with its maker."""
    summary = [{"type": "summary_text", "text": thinking.text}] if thinking.text else []
    signature = thinking.signature if thinking.maker is Keeper.OPENAI else marked(thinking)
    sealed = {"encrypted_content": signature} if signature else {}
    return {"id": thinking.item_id or OUR_REASONING + item_id, "type": "reasoning", "summary": summary, **sealed}
